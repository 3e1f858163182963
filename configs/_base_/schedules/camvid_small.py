# CamVid from scratch on a CPU: AdamW, 1,000 iterations, 20 epochs of 50.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=250)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1000, by_epoch=False)]
