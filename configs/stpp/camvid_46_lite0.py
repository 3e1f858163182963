# CamVid from ImageNet weights, 46 labelled frames (241 x 177 frames, EfficientNet-Lite0): each training of ST++ has the steps of one
# supervised run. Run it by tools/selective_retraining.py.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/stpp_lite.py']
unlabeled_pipeline = [
    _base_.load,
    dict(type='LoadPseudoMask', num_classes=_base_.num_classes),
    *_base_.unlabeled_pipeline[1:-1],
    _base_.to_pseudo_labeled_lite,
]
train_dataloader = dict(
    dataset=dict(split='camvid 46 seed0', unlabeled=dict(pipeline=unlabeled_pipeline))
)
