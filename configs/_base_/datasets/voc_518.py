# PASCAL VOC in crops of 518 pixels, 37 patches of 14: for ViTs with that patch size.
_base_ = './voc.py'
crop_size = (518, 518)
crop = dict(type='RandomScaleCrop', crop_size=crop_size, ratio_range=(0.5, 2.0))
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_both]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    ),
)
