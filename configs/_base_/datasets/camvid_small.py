# CamVid at a third of its size, for use on a CPU: every frame is resized to 160 x 120 pixels, in training
# and in evaluation. Labels are resized with their image and compared at that size, which keeps
# evaluation cheap; its mIoU does not compare with that of full frames.
# Prepare data/camvid with tools/dataset_converters/camvid.py. A split's config replaces the two
# ann_file; supervised-only training sets unlabeled=None and source_ratio=[1].
data_root = 'data/camvid/'
frame_size = (160, 120)  # width, height
crop_size = (112, 112)
num_classes = 11
batch_size_labeled = 4  # images a GPU
batch_size_unlabeled = 4
views = ['labeled', 'weak', 'strong']

# what follows the geometry of a labelled image, which the student sees without colour changes
labeled_view = [dict(type='PackSemiInputs')]

# weak view of an unlabelled image, from which the teacher makes pseudo-labels
weak_view = [dict(type='PackSemiInputs')]

# strong view of the same crop, which the student must label as the teacher labelled the weak one; hue
# and blur are weaker than usual: a pole is two pixels wide here
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
    dict(type='Resize', scale=frame_size),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.75, 1.5)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, labeled=labeled_view),
]

# unlabelled images: one geometry, then the two views
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=frame_size),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.75, 1.5)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, weak=weak_view, strong=strong_view),
]

# whole small frames with labels of their size, for evaluation
val_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=frame_size),
    dict(type='EvaluateAtThisSize'),
    dict(type='PackSegInputs'),
]

# inference on an image of any size, answered at its own size; MMSegmentation's own transforms alone
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=frame_size),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

# evaluation at full size with test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=s) for s in ((120, 90), frame_size, (200, 150))],
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
            type='CamVidDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            ann_file='configs/splits/camvid/46/seed0/labeled.txt',
            pipeline=labeled_pipeline,
        ),
        unlabeled=dict(
            type='CamVidDataset',
            data_root=data_root,
            data_prefix=dict(img_path='images/train'),
            ann_file='configs/splits/camvid/46/seed0/unlabeled.txt',
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
        type='CamVidDataset',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
