# The generated scenes alone, for comparison: 8 labelled scenes, CCT.
_base_ = [
    '../../../../configs/_base_/models/cct_small.py',
    '../../../../configs/_base_/datasets/quickstart.py',
    '../../../../configs/_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=50,
    student=dict(decode_head=dict(num_classes=6)),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=4),
            background_classes=(0, 1, 2),  # sky, ground, water
        ),
    ],
)
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=600, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=300))
