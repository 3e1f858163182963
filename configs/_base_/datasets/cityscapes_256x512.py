# Cityscapes as MLLC trains on it: crops of 256 x 512 pixels out of images of half their size, labelled and unlabelled ones
# alike, without flips; the strong view's colour comes after mixing (ColourAfterMixing). Evaluated on images of half their
# size against the full labels.
_base_ = './cityscapes.py'
half_size = (1024, 512)  # width, height
crop_size = (256, 512)
batch_size_labeled = 2  # images on the one GPU
batch_size_unlabeled = 2
labeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadSegLabels', num_classes=19),
    dict(type='Resize', scale=half_size),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(1.0, 1.0)),
    dict(type='MultiBranch', branch_field=_base_.views, labeled=_base_.labeled_view),
]
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=half_size),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(1.0, 1.0)),
    dict(type='MultiBranch', branch_field=_base_.views, weak=_base_.weak_view),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=half_size),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    sampler=dict(
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
