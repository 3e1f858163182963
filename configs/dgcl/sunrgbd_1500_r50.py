# SUN RGB-D, 1500 labelled images drawn at random: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = ['../fixmatch/sunrgbd_1500_r50.py', '../_base_/recipes/dgcl.py']
model = dict(
    student=_base_.dgcl.student,
    pseudo_label=dict(_base_.dgcl.pseudo_label, _delete_=True),
    objectives=_base_.dgcl.objectives,
)
