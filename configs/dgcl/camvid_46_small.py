# CamVid from scratch, 46 labelled frames: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = '../fixmatch/camvid_46_small.py'
model = dict(
    student=dict(decode_head=dict(type='DGCLHead', projection=True, projection_channels=64)),
    # the most uncertain 20 % of the unlabelled pixels have no label at first, none at the end
    pseudo_label=dict(
        _delete_=True,
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(8, 20)),
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        # 8 epochs of labels only; then self-training, banks, and each class's contrast once its bank is full
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[8]),
        ),
        dict(
            type='DGCLObjective',
            weight=dict(type='Steps', values=[0.0, 0.125], milestones=[8]),
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(8, 18.5)),
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
        ),
    ],
)
