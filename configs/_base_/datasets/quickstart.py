# Generated scenes of 112 x 112 pixels: 8 labelled, 240 without labels, 60 for validation.
# Draw them with: python tools/quickstart.py --data-only
# Supervised-only training sets unlabeled=None and source_ratio=[1].
data_root = 'data/quickstart/'
crop_size = (64, 64)
num_classes = 6
batch_size_labeled = 4
batch_size_unlabeled = 4
views = ['labeled', 'weak', 'strong']

# what follows the geometry of a labelled image, which the student sees without colour changes
labeled_view = [dict(type='PackSemiInputs')]

# weak view of an unlabelled image, from which the teacher makes pseudo-labels
weak_view = [dict(type='PackSemiInputs')]

# strong view of the same crop; hue and blur are weaker than usual: here colour tells water from
# ground, and the texture of a tree is two pixels fine
strong_view = [
    dict(type='PILColorJitter', prob=0.8, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.05),
    dict(type='PILGrayscale', prob=0.1),
    dict(type='PILGaussianBlur', prob=0.5, radius=(0.1, 0.8)),
    dict(type='PackSemiInputs'),
]

# labelled images, for the supervised loss
labeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadSegLabels', num_classes=num_classes),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.7, 1.1)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, labeled=labeled_view),
]

# unlabelled images: one geometry, then the two views
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.7, 1.1)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, weak=weak_view, strong=strong_view),
]

# whole scenes, for evaluation and inference; MMSegmentation's own transforms alone
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
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

# Scenes are so small that loading them in the process itself costs less than handing them over.
train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(
        type='MultiSourceSampler',
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(
        type='SemiDataset',
        labeled=dict(
            type='QuickstartDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            ann_file='labeled.txt',
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='QuickstartDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train'),
            ann_file='unlabeled.txt',
            pipeline=unlabeled_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=10,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='QuickstartDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
