# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50): cross-consistency of thirty auxiliary decoders.
_base_ = [
    '../_base_/models/cct_r101.py',
    '../_base_/datasets/camvid_weak.py',
    '../_base_/default_runtime.py',
]
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
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file='configs/splits/camvid/46/seed0/labeled.txt'),
        unlabeled=dict(ann_file='configs/splits/camvid/46/seed0/unlabeled.txt'),
    )
)

# from scratch: one learning rate for all
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=1000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=20000, by_epoch=False)]
