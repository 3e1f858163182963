# DGCL: FixMatch with entropy percentiles, and the density-guided contrast. Times are those of VOC's 80 epochs.
dgcl = dict(
    student=dict(decode_head=dict(type='DGCLHead', projection=True)),
    # the most uncertain 20 % of the unlabelled pixels have no label at first, none at the end
    pseudo_label=dict(
        type='EntropyPercentile', drop=dict(type='Line', values=(20.0, 0.0), times=(1, 80))
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only; from epoch 1 self-training, banks, and each class's contrast once its bank is full
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[1]),
        ),
        dict(
            type='DGCLObjective',
            weight=dict(type='Steps', values=[0.0, 0.125], milestones=[1]),
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 70.125)),
            contrast=dict(type='PrototypeContrastLoss', temperature=0.5),
            anchors=200,
            positives=50,
            bank_positives=50,
            negatives=512,
            max_density_queries=10000,
            bank_size=10000,
            rows_per_step=1000,
            density_after=1000,
            excluded_classes=(),
            gate='per_class',
        ),
    ],
)
