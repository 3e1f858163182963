# What the data sets share: views of an image, parts of pipelines, loaders, metric. A data set's file adds folders and crop, and
# puts its pipelines together; a method's config adds the split, that is which images are labelled.
batch_size_labeled = 4  # images a GPU
batch_size_unlabeled = 4
gpus = 1  # for which a run's length is counted
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

# the same for images of about 100 pixels, with weaker hue and blur: their objects are two pixels wide, and told apart by colour
small_strong_view = [
    dict(type='PILColorJitter', prob=0.8, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.05),
    dict(type='PILGrayscale', prob=0.1),
    dict(type='PILGaussianBlur', prob=0.5, radius=(0.1, 0.8)),
    dict(type='PackSemiInputs'),
]

# the same for images of about 250 pixels
lite_strong_view = [
    *small_strong_view[:2],
    dict(type='PILGaussianBlur', prob=0.5, radius=(0.1, 1.0)),
    small_strong_view[-1],
]

# a training pipeline is: load, then labels or valid, the data set's crop, flip, and the views of labelled images, of unlabelled
# ones in the weak view, in both views, or in both views of small images
load = dict(type='LoadImage')
valid = dict(type='InitValidMap')
flip = dict(type='RandomFlip', prob=0.5)
to_labeled = dict(type='MultiBranch', branch_field=views, labeled=labeled_view)
to_weak = dict(type='MultiBranch', branch_field=views, weak=weak_view)
to_both = dict(type='MultiBranch', branch_field=views, weak=weak_view, strong=strong_view)
to_both_small = dict(
    type='MultiBranch', branch_field=views, weak=weak_view, strong=small_strong_view
)
to_both_lite = dict(type='MultiBranch', branch_field=views, weak=weak_view, strong=lite_strong_view)

# the same with a second strong view of each unlabelled image (UniMatch); labelled images then name it, too
two_strong_views = [*views, 'strong_2']
to_labeled_two = dict(type='MultiBranch', branch_field=two_strong_views, labeled=labeled_view)
to_two_strong, to_two_strong_small, to_two_strong_lite = (
    dict(
        type='MultiBranch',
        branch_field=two_strong_views,
        weak=weak_view,
        strong=view,
        strong_2=view,
    )
    for view in (strong_view, small_strong_view, lite_strong_view)
)

# the one view of a pseudo-labelled image (ST, ST++): strong colour, and a box of noise without labels. It stands in the place of the
# weak view, because no network labels another one
to_pseudo_labeled, to_pseudo_labeled_small, to_pseudo_labeled_lite = (
    dict(
        type='MultiBranch',
        branch_field=views,
        weak=[*view[:-1], dict(type='RandomErasing', prob=0.5), view[-1]],
    )
    for view in (strong_view, small_strong_view, lite_strong_view)
)

# complete images, for evaluation and inference; MMSegmentation's own transforms alone
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

# evaluation with test-time augmentation (tools/test.py --tta), and with the six scales of VOC and Cityscapes
tta_rest = [
    [
        dict(type='RandomFlip', prob=0.0, direction='horizontal'),
        dict(type='RandomFlip', prob=1.0, direction='horizontal'),
    ],
    [dict(type='LoadAnnotations')],
    [dict(type='PackSegInputs')],
]
tta_pipeline, wide_tta_pipeline = (
    [
        dict(type='LoadImageFromFile', imdecode_backend='pillow'),
        dict(
            type='TestTimeAug',
            transforms=[
                [dict(type='Resize', scale_factor=scale, keep_ratio=True) for scale in scales],
                *tta_rest,
            ],
        ),
    ]
    for scales in ((0.75, 1.0, 1.25), (0.5, 0.75, 1.0, 1.25, 1.5, 1.75))
)

train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(
        type='MultiSourceSampler',
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(type='SemiDataset'),
)
# for train_dataloader of a run on labelled images alone, which opens no unlabelled image
labeled_only = dict(
    batch_size=batch_size_labeled,
    sampler=dict(batch_size=batch_size_labeled, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
