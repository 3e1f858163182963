# PASCAL VOC 2012 as CCT trains on it: crops of 320 pixels out of images whose long side is 200 to 800 pixels, labelled and
# unlabelled ones alike, without a strong view.
_base_ = './voc.py'
crop_size = (320, 320)
batch_size_labeled = 10  # images on the one GPU
batch_size_unlabeled = 10
gpus = 1
crop = dict(
    type='RandomScaleCrop',
    crop_size=crop_size,
    ratio_range=(0.5, 2.0),
    base=400,
    interpolation='bicubic',
    pad_val=dict(img=(104, 116, 124), seg=255),  # the mean colour
)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_weak]
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
