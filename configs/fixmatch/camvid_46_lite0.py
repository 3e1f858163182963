# CamVid from ImageNet weights, 46 labelled frames (241 x 177 frames, EfficientNet-Lite0).
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/fixmatch_lite.py']
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
