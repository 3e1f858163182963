# SUN RGB-D alone: 1,500 labelled images, CCT with ResNet-50.
_base_ = [
    '../../../../configs/_base_/models/cct_r101.py',
    '../../../../configs/_base_/datasets/sunrgbd.py',
    '../_base_/gpu_run.py',
]
model = dict(
    iters_per_epoch=500,
    student=dict(backbone=_base_.resnet50, decode_head=dict(num_classes=37)),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid'),
            # wall, floor, window, curtain, mirror, floor_mat, ceiling: the other classes are objects
            background_classes=(0, 1, 8, 15, 18, 19, 21),
        ),
    ],
)
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(
    dataset=dict(split='sunrgbd 1500', unlabeled=dict(pipeline=unlabeled_pipeline))
)
