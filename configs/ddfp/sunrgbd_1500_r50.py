# SUN RGB-D, 1500 labelled images drawn at random: FixMatch and the density-descending perturbation.
_base_ = ['../fixmatch/sunrgbd_1500_r50.py', '../_base_/recipes/ddfp.py']
model = _base_.ddfp
default_hooks = dict(flow=dict(_base_.flow, epochs=80))
