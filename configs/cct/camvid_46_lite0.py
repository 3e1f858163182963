# CamVid from ImageNet weights, 46 labelled frames: cross-consistency of thirty auxiliary decoders.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/cct_lite.py']
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(
    dataset=dict(split='camvid 46 seed0', unlabeled=dict(pipeline=unlabeled_pipeline))
)
