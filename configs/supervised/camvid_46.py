# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50): the same steps as the semi-supervised runs.
_base_ = [
    '../_base_/models/deeplabv3plus_r50_scratch.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
]
model = dict(iters_per_epoch=500)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(
        labeled=dict(ann_file='configs/splits/camvid/46/seed0/labeled.txt'), unlabeled=None
    ),
)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=1000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=20000, by_epoch=False)]
