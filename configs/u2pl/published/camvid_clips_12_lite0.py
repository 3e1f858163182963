# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: U2PL with the teacher, threshold, mixing,
# weights and norms of its published configs, instead of those of lite.py.
_base_ = [
    '../../_base_/models/deeplabv3plus_lite0.py',
    '../../_base_/datasets/camvid_clips_lite.py',
    '../../_base_/schedules/lite.py',
    '../../_base_/recipes/u2pl.py',
]
unlabeled_pipeline = [
    *_base_.unlabeled_pipeline[:-1],
    _base_.to_weak,
]  # the strong view is the weak one
train_dataloader = dict(
    dataset=dict(split='camvid_clips 12 seed0', unlabeled=dict(pipeline=unlabeled_pipeline))
)
falling = dict(type='Line', values=(20.0, 0.0), times=(0, 8), whole=True)
supervised, self_training, contrast = _base_.u2pl.objectives
# maps of 41 x 41 positions
small = dict(anchors=64, queue_size=3000, keys_per_step=200, projection_channels=96)
model = dict(
    iters_per_epoch=_base_.epoch,
    teacher=_base_.u2pl.teacher,
    pseudo_label=dict(_base_.u2pl.pseudo_label, drop=falling),
    mixing=_base_.u2pl.mixing,
    objectives=[supervised, self_training, dict(contrast, unreliable=falling, **small)],
)
