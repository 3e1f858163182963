# CamVid at a third of its size, without a strong view of the unlabelled frames.
_base_ = './camvid_small.py'
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
