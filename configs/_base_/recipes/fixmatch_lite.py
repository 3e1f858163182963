# FixMatch: the student learns, on a strong view, the label that an averaged teacher gives the weak one.
_base_ = ['../models/deeplabv3plus_lite0.py', '../schedules/lite.py', './lite.py']
model = dict(
    iters_per_epoch=_base_.epoch,
    objectives=[dict(type='SupervisedObjective'), _base_.self_training],
    **_base_.lite,
)
