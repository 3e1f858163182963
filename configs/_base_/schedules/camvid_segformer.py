# CamVid from scratch with SegFormer: its optimiser at ten times its learning rate, for weights that were never trained; no decay
# of norms. 20,000 iterations, 40 epochs of 500.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=500, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=500, end=20000, by_epoch=False),
]
