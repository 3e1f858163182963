# Own folders, in crops that a CPU can train on.
_base_ = './own_data.py'
crop_size = (128, 128)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
