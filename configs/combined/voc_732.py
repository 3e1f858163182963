# VOC classic, 732 labelled images: DDFP's density-descending perturbation and DGCL's density-guided contrast together.
_base_ = '../ddfp/voc_732.py'
model = dict(
    objectives=[
        # epoch 0: labels only; epoch 1: self-training, the flow learns, banks fill; from epoch 2: the moved features, too
        *_base_.model.objectives,
        # DDFPHead has no projection: the objective trains one of its own
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
            excluded_classes=(0,),  # the background is never an anchor
            gate='per_class',
            projection_channels=256,
        ),
    ],
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'projection': dict(lr_mult=10.0)}))
