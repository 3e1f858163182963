# Cityscapes (CPS lists), 372 labelled images: FixMatch and the density-descending perturbation.
_base_ = ['../fixmatch/cityscapes_372.py', '../_base_/recipes/ddfp.py']
model = _base_.ddfp
default_hooks = dict(flow=dict(_base_.flow, epochs=240))
