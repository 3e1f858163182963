# Own folders, as data/own/data.yaml describes them (docs/custom_data.md): images with masks, images
# without, and what the masks' values mean. The number of classes stands in model.student.decode_head.
# Supervised-only training sets unlabeled=None and source_ratio=[1].
data_file = 'data/own/data.yaml'
crop_size = (512, 512)
batch_size_labeled = 4  # images a GPU
batch_size_unlabeled = 4
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
    dict(type='LoadAnyImage'),
    dict(type='LoadAnyLabels'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, labeled=labeled_view),
]

# unlabelled images: one geometry, then the two views
unlabeled_pipeline = [
    dict(type='LoadAnyImage'),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, weak=weak_view, strong=strong_view),
]

# whole images with masks of any kind, for evaluation
val_pipeline = [
    dict(type='LoadAnyImage'),
    dict(type='LoadAnyLabels'),
    dict(type='PackSegInputs'),
]

# inference on single images; images of more than 8 bits with a range of their own need value_range
test_pipeline = [dict(type='LoadAnyImage'), dict(type='PackSegInputs')]

# evaluation with test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    dict(type='LoadAnyImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnyLabels')],
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
            type='FolderDataset', data_file=data_file, part='labeled', pipeline=labeled_pipeline
        ),
        unlabeled=dict(
            type='FolderDataset', data_file=data_file, part='unlabeled', pipeline=unlabeled_pipeline
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FolderDataset', data_file=data_file, part='val', pipeline=val_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
