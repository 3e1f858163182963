# VOC classic, 732 labelled images: FixMatch and the density-descending perturbation.
_base_ = ['../fixmatch/voc_732.py', '../_base_/recipes/ddfp.py']
model = _base_.ddfp
default_hooks = dict(flow=dict(_base_.flow, epochs=80))
