# CamVid from ImageNet weights, 46 labelled frames (241 x 177 frames, EfficientNet-Lite0): the same steps as the semi-supervised runs.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/supervised_lite.py']
train_dataloader = dict(_base_.labeled_only, dataset=dict(split='camvid 46 seed0', unlabeled=None))
