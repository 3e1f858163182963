# The generated scenes alone, for comparison: 8 labelled scenes, FixMatch, with the optimiser of the joint run.
_base_ = '../../../../configs/quickstart/fixmatch.py'
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=0.002, weight_decay=0.01),
)
train_cfg = dict(max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=600, by_epoch=False)]
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=300))
