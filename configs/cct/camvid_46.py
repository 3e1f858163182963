# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50): cross-consistency of thirty auxiliary decoders.
_base_ = [
    '../_base_/models/cct_r101.py',
    '../_base_/datasets/camvid_weak.py',
    '../_base_/schedules/camvid.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
model = dict(
    iters_per_epoch=500,
    student=dict(backbone=dict(depth=50, init_cfg=None), decode_head=dict(num_classes=11)),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=1),
            # sky, building, road, pavement, tree: the other classes are objects
            background_classes=(0, 1, 3, 4, 5),
        ),
    ],
)
