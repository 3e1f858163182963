# CamVid at full size, without a strong view of the unlabelled frames.
_base_ = './camvid.py'
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
