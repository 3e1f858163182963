# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: FixMatch, and a contrast with unreliable pixels.
_base_ = ['../_base_/datasets/camvid_clips_lite.py', '../_base_/recipes/u2pl_lite.py']
train_dataloader = dict(dataset=dict(split='camvid_clips 12 seed0'))
