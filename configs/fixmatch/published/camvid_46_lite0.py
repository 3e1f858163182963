# CamVid from ImageNet weights, 46 labelled frames: FixMatch with the teacher, threshold, mixing,
# weights and norms of its published configs, instead of those of lite.py.
_base_ = [
    '../../_base_/models/deeplabv3plus_lite0.py',
    '../../_base_/datasets/camvid_lite.py',
    '../../_base_/schedules/lite.py',
    '../../_base_/recipes/fixmatch.py',
]
train_dataloader = dict(dataset=dict(split='camvid 46 seed0'))
model = dict(iters_per_epoch=_base_.epoch, **_base_.fixmatch)
