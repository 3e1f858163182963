# CamVid from ImageNet weights, 46 labelled frames: two strong views and one of dropped features.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/unimatch_lite.py']
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled_two]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_two_strong_lite]
train_dataloader = dict(
    dataset=dict(
        split='camvid 46 seed0',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    )
)
