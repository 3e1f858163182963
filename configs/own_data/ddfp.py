# DDFP on own folders, with a pretrained ResNet-50.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/own_data.py',
    '../_base_/default_runtime.py',
]
iterations = 20000
epoch = iterations // 40
model = dict(
    iters_per_epoch=epoch,
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True, num_classes=2)),
    teacher=dict(weights='ema', mode='eval', buffers='copy', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95),
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
            samples=20480,
            noise=0.05,
        ),
    ],
)
# the settings of VOC's configs
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=2 * epoch)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)
]
default_hooks = dict(
    checkpoint=dict(interval=2 * epoch),
    flow=dict(type='FlowEstimatorHook', lr=1e-3, betas=(0.5, 0.9), clip=50.0, epochs=40),
)
