# DDFP on own folders from scratch, with a network that trains on a CPU.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/own_data_small.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/recipes/ddfp.py',
    '../_base_/default_runtime.py',
]
iterations = 4000
epoch = iterations // 20
model = dict(
    iters_per_epoch=epoch,
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True, num_classes=2)),
    teacher=_base_.fixmatch.teacher,
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.8),
    mixing=_base_.fixmatch.mixing,
    objectives=[
        *_base_.ddfp.objectives[:2],
        dict(_base_.ddfp.objectives[2], samples=1024, hidden_channels=64),
    ],
)
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
    teacher=dict(momentum=0.005),
    flow=dict(type='FlowEstimatorHook', epochs=20),
)
