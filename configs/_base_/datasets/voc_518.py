# PASCAL VOC in crops of 518 pixels, 37 patches of 14: for ViTs with that patch size.
_base_ = './voc.py'
crop_size = (518, 518)
labeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadSegLabels', num_classes={{_base_.num_classes}}),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field={{_base_.views}}, labeled={{_base_.labeled_view}}),
]
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='MultiBranch',
        branch_field={{_base_.views}},
        weak={{_base_.weak_view}},
        strong={{_base_.strong_view}},
    ),
]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
