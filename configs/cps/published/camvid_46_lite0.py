# CamVid from ImageNet weights, 46 labelled frames: CPS with the teacher, threshold, mixing,
# weights and norms of its published configs, instead of those of lite.py.
_base_ = [
    '../../_base_/models/deeplabv3plus_lite0.py',
    '../../_base_/datasets/camvid_lite.py',
    '../../_base_/schedules/lite.py',
    '../../_base_/recipes/cps.py',
]
unlabeled_pipeline = [
    *_base_.unlabeled_pipeline[:-1],
    _base_.to_weak,
]  # the strong view is the weak one
train_dataloader = dict(
    dataset=dict(split='camvid 46 seed0', unlabeled=dict(pipeline=unlabeled_pipeline))
)
model = dict(iters_per_epoch=_base_.epoch, **_base_.cps)
