# CamVid from ImageNet weights, 46 labelled frames: two students that label for each other.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/cps_lite.py']
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
