# ST and ST++ for the *_lite0 configs: labels, and pseudo-masks of an earlier network, in batches with statistics of their own.
_base_ = ['../models/deeplabv3plus_lite0.py', '../schedules/lite.py']
model = dict(
    iters_per_epoch=_base_.epoch,
    forward='stream',
    objectives=[dict(type='SupervisedObjective'), dict(type='PseudoMaskObjective')],
)
