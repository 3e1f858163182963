# CamVid from scratch: SGD with one learning rate for all, 20,000 iterations, 40 epochs of 500.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=1000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=20000, by_epoch=False)]
