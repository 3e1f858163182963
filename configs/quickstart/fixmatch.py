# FixMatch on the demo's scenes.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=50,
    monitor_interval=10,
    student=dict(decode_head=dict(num_classes=6)),
    # averaged weights with batch norms of their own: running statistics of the student, whose batches hold strong views,
    # do not fit them
    teacher=dict(weights='ema', mode='train', buffers='own', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.8),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
        ),
    ],
)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=200),
    teacher=dict(momentum=0.02),  # a run of 1600 iterations needs a shorter memory than 0.001
)
