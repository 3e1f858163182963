# SUN RGB-D, 1500 labelled images drawn at random: the same steps as the semi-supervised runs, without their unlabelled images.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/sunrgbd.py',
    '../_base_/schedules/sunrgbd.py',
    '../_base_/default_runtime.py',
]
model = dict(iters_per_epoch=500, student=dict(decode_head=dict(num_classes=37)))
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(split='sunrgbd 1500', unlabeled=None),
)
