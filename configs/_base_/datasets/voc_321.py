# PASCAL VOC 2012 as MLLC trains on it: crops of 321 pixels out of images of 0.5 to 1.6 times their size, labelled and
# unlabelled ones alike, without flips; the strong view's colour comes after mixing (ColourAfterMixing).
_base_ = './voc.py'
crop_size = (321, 321)
batch_size_labeled = 10  # images on the one GPU
batch_size_unlabeled = 10
geometry = [
    dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 1.6), factor='tenths'),
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
