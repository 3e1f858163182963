# CamVid from ImageNet weights, 46 labelled frames: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/dgcl_lite.py']
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
