# Cityscapes (CPS lists), 372 labelled images, without CutMix, weight 6.
_base_ = '../cityscapes_372.py'
cross = dict(_base_.cps_plain.objectives[1], weight=6.0)
model = dict(**{**_base_.cps_plain, 'objectives': [_base_.cps_plain.objectives[0], cross]})
