# Cityscapes in crops of 512 x 1024 pixels, labelled and unlabelled ones alike, without a strong view.
_base_ = './cityscapes.py'
crop_size = (512, 1024)
geometry = [
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
]
labeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadSegLabels', num_classes=19),
    *geometry,
    dict(type='MultiBranch', branch_field=_base_.views, labeled=_base_.labeled_view),
]
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='InitValidMap'),
    *geometry,
    dict(type='MultiBranch', branch_field=_base_.views, weak=_base_.weak_view),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
