# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50).
_base_ = [
    '../_base_/models/deeplabv3plus_r50_scratch.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
model = dict(iters_per_epoch=500, **_base_.fixmatch)
