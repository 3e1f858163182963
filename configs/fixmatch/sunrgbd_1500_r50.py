# SUN RGB-D, 1500 labelled images drawn at random (python tools/splits.py make, see docs/data.md). Phases are those of VOC,
# epochs have 500 iterations.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/sunrgbd.py',
    '../_base_/schedules/sunrgbd.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='sunrgbd 1500'))
model = dict(
    iters_per_epoch=500,
    student=dict(decode_head=dict(num_classes=37)),
    **_base_.fixmatch,
)
