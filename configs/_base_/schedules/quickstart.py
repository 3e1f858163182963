# The demo: AdamW, 1,600 iterations, 32 epochs of 50.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.003, betas=(0.9, 0.99), weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1600, val_interval=200)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1600, by_epoch=False)]
