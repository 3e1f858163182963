# SUN RGB-D, 1500 labelled images drawn at random (python tools/splits.py make, see docs/data.md). No recipe was published for
# it: optimiser and phases are those of VOC, epochs of 500 iterations.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/sunrgbd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=500,
    student=dict(decode_head=dict(num_classes=37)),
    # the teacher: averaged weights, running statistics copied from the student, no dropout
    teacher=dict(weights='ema', mode='eval', buffers='copy', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        # from the second epoch on
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
        ),
    ],
)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80 * 500, val_interval=4 * 500)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * 500, by_epoch=False)
]
