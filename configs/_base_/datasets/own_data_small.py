# Own folders, in crops that a CPU can train on.
_base_ = './own_data.py'
crop_size = (128, 128)
labeled_pipeline = [
    dict(type='LoadAnyImage'),
    dict(type='LoadAnyLabels'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=_base_.views, labeled=_base_.labeled_view),
]
unlabeled_pipeline = [
    dict(type='LoadAnyImage'),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='MultiBranch',
        branch_field=_base_.views,
        weak=_base_.weak_view,
        strong=_base_.strong_view,
    ),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
