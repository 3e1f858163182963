# The classifier of the authors' code for CCT (github.com/yassouali/CCT): 10,582 images of VOC and SBD, labels from the objects of
# VOC's XML files, 5 epochs of batches of 16, plain SGD.
_base_ = '../_base_/classifier.py'
data_root = 'data/VOCdevkit/VOC2012/'
lists = 'data/splits/u2pl/voc/1464/'
iters = 5 * (10582 // 16)
train_pipeline = [
    dict(type='LoadImage'),
    # long side 320 to 640 pixels, then a crop of 512, padded with the mean colour
    dict(
        type='RandomScaleCrop',
        crop_size=(512, 512),
        ratio_range=(0.5, 1.0),
        base=640,
        interpolation='bicubic',
        pad_val=dict(img=(104, 116, 124), seg=255),
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackImageLabels'),
]
source = dict(
    type='ImageLabelDataset',
    kind='PascalVOCDataset',
    images=data_root + 'JPEGImages',
    labels=dict(kind='voc_xml', path=data_root + 'Annotations'),
    leave_out=('background',),
)
whole = [dict(type='LoadImage'), dict(type='PackImageLabels')]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='MultiSourceSampler', batch_size=16, source_ratio=[1]),
    dataset=dict(
        **source, lists=[lists + 'labeled.txt', lists + 'unlabeled.txt'], pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**source, lists=data_root + 'ImageSets/Segmentation/val.txt', pipeline=whole),
)
mask_dataset = dict(**source, lists=lists + 'unlabeled.txt', pipeline=whole)
mask_settings = dict(
    foreground=0.30,
    background=0.05,
    background_class=0,
    scales=(1.0, 0.5, 1.5, 2.0),
    crf=dict(type='mean_field', gt_prob=0.7, spatial=(3, 3), bilateral=(50, 5, 10), iterations=10),
)
# a wrong argument gives the released code a momentum of 1e-4; the learning rates fit to it
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.0, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'classifier': dict(lr_mult=10)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=iters)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iters, by_epoch=False)]
