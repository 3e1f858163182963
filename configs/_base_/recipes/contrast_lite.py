# DGCL's contrast for maps of 41 x 41 positions. The objective trains a projection of its own, beside the plain DeepLabV3+ head.
contrast = dict(
    type='DGCLObjective',
    # from epoch 1 banks fill, and a class is contrasted once its bank is full
    weight=dict(type='Steps', values=[0.0, 0.125], milestones=[1]),
    uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 7)),
    contrast=dict(type='PrototypeContrastLoss', temperature=0.5),
    anchors=40,
    positives=20,
    bank_positives=20,
    negatives=256,
    max_density_queries=10000,
    bank_size=1000,
    rows_per_step=200,
    density_after=200,
    excluded_classes=(),
    gate='per_class',
    projection_channels=96,
)
