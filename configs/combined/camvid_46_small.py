# CamVid from scratch, 46 labelled frames: DDFP's density-descending perturbation and DGCL's density-guided contrast together.
_base_ = '../ddfp/camvid_46_small.py'
model = dict(
    objectives=[
        # 8 epochs of labels only; then self-training, the flow learns, banks fill; from epoch 9: the moved features, too
        *_base_.model.objectives,
        # DDFPHead has no projection: the objective trains one of its own
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
            projection_channels=64,
        ),
    ],
)
