# PASCAL VOC 2012 as CCT trains on it: crops of 320 pixels out of images whose long side is 200 to 800 pixels, labelled and
# unlabelled ones alike, without a strong view.
_base_ = './voc.py'
crop_size = (320, 320)
batch_size_labeled = 10  # images on the one GPU
batch_size_unlabeled = 10
geometry = [
    dict(
        type='RandomScaleCrop',
        crop_size=crop_size,
        ratio_range=(0.5, 2.0),
        base=400,
        interpolation='bicubic',
        pad_val=dict(img=(104, 116, 124), seg=255),  # the mean colour
    ),
    dict(type='RandomFlip', prob=0.5),
]
labeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadSegLabels', num_classes=21),
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
    batch_size=batch_size_labeled + batch_size_unlabeled,
    sampler=dict(
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
