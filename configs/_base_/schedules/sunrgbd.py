# SUN RGB-D: no recipe was published for it; the optimiser is that of VOC, 80 epochs of 500 iterations.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80 * 500, val_interval=4 * 500)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * 500, by_epoch=False)
]
