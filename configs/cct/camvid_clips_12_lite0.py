# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: cross-consistency of thirty auxiliary decoders.
_base_ = ['../_base_/datasets/camvid_clips_lite.py', '../_base_/recipes/cct_lite.py']
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(
    dataset=dict(split='camvid_clips 12 seed0', unlabeled=dict(pipeline=unlabeled_pipeline))
)
