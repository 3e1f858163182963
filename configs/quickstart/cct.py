# CCT on the demo's scenes: auxiliary decoders on perturbed features agree with the main one.
_base_ = [
    '../_base_/models/cct_small.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/default_runtime.py',
]
unlabeled_pipeline = [
    *_base_.unlabeled_pipeline[:-1],
    dict(type='MultiBranch', branch_field=_base_.views, weak=_base_.weak_view),
]
model = dict(
    iters_per_epoch=50,
    monitor_interval=10,
    student=dict(decode_head=dict(num_classes=6)),
    objectives=[
        dict(type='SupervisedObjective'),
        # from scratch, there is nothing to agree on before the first epochs
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=1),
            # ground and sky: the other classes are objects
            background_classes=(0, 1),
        ),
    ],
)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.003, betas=(0.9, 0.99), weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1600, val_interval=200)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1600, by_epoch=False)]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
