# DDFP's density-descending perturbation and DGCL's density-guided contrast together, in the frame of lite.py.
_base_ = ['./ddfp_lite.py', './contrast_lite.py']
model = dict(objectives=[*_base_.model.objectives, _base_.contrast])
