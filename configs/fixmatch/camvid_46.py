# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50).
_base_ = [
    '../_base_/models/deeplabv3plus_r50_scratch.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=500,
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
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file='configs/splits/camvid/46/seed0/labeled.txt'),
        unlabeled=dict(ann_file='configs/splits/camvid/46/seed0/unlabeled.txt'),
    )
)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=1000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=20000, by_epoch=False)]
