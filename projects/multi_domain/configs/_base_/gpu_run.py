# Common settings of the runs at full size. Iterations and learning rates of runs on several domains
# were not published: these are the learning rates of CCT's VOC runs, and 20,000 iterations.
_base_ = '../../../../configs/_base_/default_runtime.py'
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=2000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=20000, by_epoch=False)]
