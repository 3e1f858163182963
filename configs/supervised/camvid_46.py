# CamVid from scratch, 46 labelled frames (480 x 360 frames, ResNet-50): the same steps as the semi-supervised runs.
_base_ = [
    '../_base_/models/deeplabv3plus_r50_scratch.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid.py',
    '../_base_/default_runtime.py',
]
model = dict(iters_per_epoch=500)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(split='camvid 46 seed0', unlabeled=None),
)
