# From scratch on a CPU: AdamW, 4,000 iterations, 20 epochs of 200.
_base_ = '../default_runtime.py'
iterations = 4000
epoch = iterations // 20
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=epoch)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)
]
default_hooks = dict(
    checkpoint=dict(interval=epoch),
    # the average spans a twentieth of the run, whatever its length: a momentum of 0.005 at 4,000 iterations
    teacher=dict(momentum=None, window=0.05),
)
