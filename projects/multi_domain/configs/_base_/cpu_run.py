# Common settings of the runs on a CPU.
_base_ = '../../../../configs/_base_/default_runtime.py'
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=600, by_epoch=False)]
default_hooks = dict(
    checkpoint=dict(interval=300),
    teacher=dict(momentum=0.02),  # a short run needs a shorter memory than 0.001
)
