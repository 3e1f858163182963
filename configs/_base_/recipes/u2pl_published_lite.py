# U2PL in the teacher, labels, mixing and weights of its published configs, for maps of 41 x 41 positions and 8 epochs.
_base_ = ['../models/deeplabv3plus_lite0.py', '../schedules/lite.py', './u2pl.py']
falling = dict(type='Line', values=(20.0, 0.0), times=(0, 8), whole=True)
supervised, self_training, contrast = _base_.u2pl.objectives
small = dict(anchors=64, queue_size=3000, keys_per_step=200, projection_channels=96)
model = dict(
    iters_per_epoch=_base_.epoch,
    teacher=_base_.u2pl.teacher,
    pseudo_label=dict(_base_.u2pl.pseudo_label, drop=falling),
    mixing=_base_.u2pl.mixing,
    objectives=[supervised, self_training, dict(contrast, unreliable=falling, **small)],
)
