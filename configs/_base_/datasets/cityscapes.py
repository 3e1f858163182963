# Cityscapes: 2,975 training images of 2048 x 1024 pixels, 19 classes, evaluated on the 500 images
# of val, in windows of the crop size (test_cfg of the model). Needs the labelTrainIds masks of
# MMSegmentation's converter. Import the lists with tools/splits.py. A split's config replaces the
# two ann_file; supervised-only training sets unlabeled=None and source_ratio=[1].
data_root = 'data/cityscapes/'
crop_size = (801, 801)
num_classes = 19
batch_size_labeled = 2  # images a GPU, on 4 GPUs
batch_size_unlabeled = 2
views = ['labeled', 'weak', 'strong']

# what follows the geometry of a labelled image, which the student sees without colour changes
labeled_view = [dict(type='PackSemiInputs')]

# weak view of an unlabelled image, from which the teacher makes pseudo-labels
weak_view = [dict(type='PackSemiInputs')]

# strong view of the same crop, which the student must label as the teacher labelled the weak one
strong_view = [
    dict(type='PILColorJitter', prob=0.8, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25),
    dict(type='PILGrayscale', prob=0.2),
    dict(type='PILGaussianBlur', prob=0.5, radius=(0.1, 2.0)),
    dict(type='PackSemiInputs'),
]

# labelled images, for the supervised loss
labeled_pipeline = [
    dict(type='LoadImage', defer=True),  # RandomScaleCrop decodes the part that it shows
    dict(type='LoadSegLabels', num_classes=num_classes),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, labeled=labeled_view),
]

# unlabelled images: one geometry, then the two views
unlabeled_pipeline = [
    dict(type='LoadImage', defer=True),  # RandomScaleCrop decodes the part that it shows
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, weak=weak_view, strong=strong_view),
]

# whole images, which the model cuts into windows, for evaluation and inference; transforms of
# MMSegmentation alone
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

# evaluation with test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=r, keep_ratio=True)
                for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(
        type='MultiSourceSampler',
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(
        type='SemiDataset',
        labeled=dict(
            type='CityscapesDataset',
            data_root=data_root,
            data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
            ann_file='data/splits/cps/cityscapes/372/labeled.txt',
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='CityscapesDataset',
            data_root=data_root,
            data_prefix=dict(img_path='leftImg8bit/train'),
            ann_file='data/splits/cps/cityscapes/372/unlabeled.txt',
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
