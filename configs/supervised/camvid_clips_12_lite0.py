# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others (241 x 177 frames, EfficientNet-Lite0): the same steps as the semi-supervised runs.
_base_ = ['../_base_/datasets/camvid_clips_lite.py', '../_base_/recipes/supervised_lite.py']
train_dataloader = dict(
    _base_.labeled_only, dataset=dict(split='camvid_clips 12 seed0', unlabeled=None)
)
