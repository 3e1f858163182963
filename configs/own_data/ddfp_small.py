# DDFP on own folders from scratch, with a network that trains on a CPU.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/own_data_small.py',
    '../_base_/default_runtime.py',
]
iterations = 4000
epoch = iterations // 20
model = dict(
    iters_per_epoch=epoch,
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True, num_classes=2)),
    teacher=dict(weights='ema', mode='eval', buffers='copy', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.8),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only; epoch 1: self-training, and the flow learns; from epoch 2: both at half weight
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0, 0.5], milestones=[1, 2]),
        ),
        dict(
            type='DDFPObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[2]),
            density_start=1,
            eps=4.0,
            samples=1024,
            hidden_channels=64,
            noise=0.05,
        ),
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
