# From ImageNet weights on a CPU: AdamW, 600 iterations, 8 epochs of 75. All times of the recipes are in these epochs.
# float32: on processors without instructions for bfloat16, bfloat16 is several times slower.
_base_ = '../default_runtime.py'
iterations = 600
epoch = iterations // 8
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=4 * epoch)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)
]
default_hooks = dict(
    checkpoint=dict(interval=4 * epoch),
    # the average spans a sixth of the run, whatever its length: a momentum of 0.01 at 600 iterations
    teacher=dict(momentum=None, window=1 / 6),
)
