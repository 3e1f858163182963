# CamVid at 160 x 120 pixels, from scratch: which of three classes cover more than 5 % of a frame. Sky, building and road are in
# nearly every frame, so a label says nothing about where they are; the other classes are in few frames, or small.
# The network has two stages only: with the frame as field of view it would predict from the rest of the scene, not from the object.
_base_ = '../_base_/classifier_small.py'
frame_size = (160, 120)
lists = 'configs/splits/camvid/46/seed0/'
table = 'data/weak_labels/camvid/labels.csv'
model = dict(
    backbone=dict(
        base_channels=64,
        num_stages=2,
        out_indices=(0, 1),
        strides=(1, 2),
        dilations=(1, 1),
    ),
    in_channels=128,
    num_classes=3,
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=frame_size),
    dict(type='RandomScaleCrop', crop_size=(112, 112), ratio_range=(0.75, 1.25)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackImageLabels'),
]
source = dict(
    type='ImageLabelDataset',
    kind='CamVidDataset',
    images='data/camvid/images/train',
    labels=dict(kind='csv', path=table),
    leave_out=(
        'sky',
        'building',
        'pole',
        'road',
        'sign_symbol',
        'fence',
        'pedestrian',
        'bicyclist',
    ),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='MultiSourceSampler', batch_size=8, source_ratio=[1]),
    dataset=dict(
        **source, lists=[lists + 'labeled.txt', lists + 'unlabeled.txt'], pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **source,
        lists=lists + 'labeled.txt',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='Resize', scale=frame_size),
            dict(type='PackImageLabels'),
        ],
    ),
)
mask_dataset = dict(
    **source,
    lists=lists + 'unlabeled.txt',
    pipeline=[dict(type='LoadImage'), dict(type='PackImageLabels')],
)
# Frames are 480 x 360, and the classifier was trained at a third of that. The threshold was chosen on the labelled frames, on which the
# map of the pavement is no better than chance.
mask_settings = dict(
    classes=('tree', 'car'),
    foreground=0.40,
    background=0.05,
    background_class=None,
    scales=(0.33, 0.25, 0.5, 0.67),
    crf=dict(type='none'),  # 'mean_field' takes two seconds a frame on one core
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=800, val_interval=400)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=800, by_epoch=False)]
