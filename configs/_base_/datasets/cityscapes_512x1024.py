# Cityscapes in crops of 512 x 1024 pixels, labelled and unlabelled ones alike, without a strong view.
_base_ = './cityscapes.py'
crop_size = (512, 1024)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
load = dict(type='LoadImage')
labeled_pipeline = [load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [load, _base_.valid, crop, _base_.flip, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
