# CamVid from ImageNet weights, 46 labelled frames: FixMatch and the density-descending perturbation.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/ddfp_lite.py']
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
