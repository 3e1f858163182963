# CCT on the demo's scenes without weak masks: what quickstart.py is compared with, at equal iterations.
_base_ = [
    '../../../../configs/_base_/models/cct_small.py',
    '../../../../configs/_base_/datasets/quickstart.py',
    '../../../../configs/_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=50,
    monitor_interval=10,
    student=dict(decode_head=dict(num_classes=6)),
    objectives=[
        dict(type='SupervisedObjective'),
        # 2 epochs of labels only: from scratch, there is nothing to agree on before
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=2, kind='sigmoid', start=2),
            background_classes=(0, 1),  # sky, ground
        ),
    ],
)
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=(64, 64), ratio_range=(0.7, 1.1)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='MultiBranch',
        branch_field=['labeled', 'weak', 'strong'],
        weak=[dict(type='PackSemiInputs')],
    ),
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.003, betas=(0.9, 0.99), weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400, val_interval=200)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=400, by_epoch=False)]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
