# CamVid from ImageNet weights, 12 labelled frames: FixMatch, and a contrast with unreliable pixels.
_base_ = ['../_base_/datasets/camvid_lite.py', '../_base_/recipes/u2pl_lite.py']
train_dataloader = dict(dataset=dict(split='camvid 12 seed0'))
