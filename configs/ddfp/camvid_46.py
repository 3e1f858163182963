# CamVid from scratch, 46 labelled frames: FixMatch and the density-descending perturbation.
_base_ = ['../fixmatch/camvid_46.py', '../_base_/recipes/ddfp.py']
model = _base_.ddfp
default_hooks = dict(flow=dict(_base_.flow, epochs=40))
