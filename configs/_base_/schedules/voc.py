# DDFP's schedule on VOC: 80 epochs of 615 iterations, ceil(9850 / 4) // 4 on 4 GPUs with 4 + 4 images each.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80 * 615, val_interval=4 * 615)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * 615, by_epoch=False)
]
