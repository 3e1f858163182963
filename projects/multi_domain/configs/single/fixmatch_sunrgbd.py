# SUN RGB-D alone: 1,500 labelled images, FixMatch with ResNet-50.
_base_ = [
    '../../../../configs/_base_/models/deeplabv3plus_r50.py',
    '../../../../configs/_base_/datasets/sunrgbd.py',
    '../../../../configs/_base_/recipes/fixmatch.py',
    '../_base_/gpu_run.py',
]
model = dict(
    iters_per_epoch=500,
    student=dict(decode_head=dict(num_classes=37)),
    **_base_.fixmatch,
)
train_dataloader = dict(dataset=dict(split='sunrgbd 1500'))
