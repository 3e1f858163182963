# CamVid from ImageNet weights, 46 labelled frames: DDFP's density-descending perturbation and DGCL's density-guided contrast together.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/combined_lite.py']
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
