# SUN RGB-D alone: 1,500 labelled images, FixMatch with ResNet-50.
_base_ = [
    '../../../../configs/_base_/models/deeplabv3plus_r50.py',
    '../../../../configs/_base_/datasets/sunrgbd.py',
    '../_base_/gpu_run.py',
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
