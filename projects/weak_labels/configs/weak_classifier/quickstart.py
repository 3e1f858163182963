# The demo's scenes: water, building, tree and vehicle are in some of them; sky and ground are in all, so their label says
# nothing about where they are.
_base_ = '../_base_/classifier_small.py'
data_root = 'data/weak_labels/quickstart/'
model = dict(num_classes=4)
source = dict(
    type='ImageLabelDataset',
    kind='QuickstartDataset',
    images='data/quickstart/images',
    img_suffix='.png',
    labels=dict(kind='csv', path=data_root + 'labels.csv'),
    leave_out=('sky', 'ground'),
)
whole = [dict(type='LoadImage'), dict(type='PackImageLabels')]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='MultiSourceSampler', batch_size=8, source_ratio=[1]),
    dataset=dict(
        **source,
        lists=data_root + 'train.txt',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='RandomScaleCrop', crop_size=(96, 96), ratio_range=(0.8, 1.1)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackImageLabels'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**source, lists=data_root + 'val.txt', pipeline=whole),
)
mask_dataset = dict(**source, lists=data_root + 'unlabeled.txt', pipeline=whole)
# no class is a background: pixels of no class are ignored in the masks. Buildings are in 99 % of the scenes, their map is
# flat. The threshold was chosen on the eight labelled scenes.
mask_settings = dict(
    classes=('water', 'tree', 'vehicle'),
    foreground=0.40,
    background=0.05,
    background_class=None,
    scales=(1.0, 0.75, 1.5, 2.0),
    crf=dict(type='mean_field', bilateral=(20, 8, 10)),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400, val_interval=400)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=400, by_epoch=False)]
