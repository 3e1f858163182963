# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: FixMatch with the teacher, threshold, mixing,
# weights and norms of its published configs, instead of those of lite.py.
_base_ = [
    '../../_base_/models/deeplabv3plus_lite0.py',
    '../../_base_/datasets/camvid_clips_lite.py',
    '../../_base_/schedules/lite.py',
    '../../_base_/recipes/fixmatch.py',
]
train_dataloader = dict(dataset=dict(split='camvid_clips 12 seed0'))
model = dict(iters_per_epoch=_base_.epoch, **_base_.fixmatch)
