# Cityscapes (CPS lists), 372 labelled images: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = ['../fixmatch/cityscapes_372.py', '../_base_/recipes/dgcl.py']
model = dict(
    student=_base_.dgcl.student,
    pseudo_label=dict(
        _base_.dgcl.pseudo_label,
        _delete_=True,
        drop=dict(type='Line', values=(20.0, 0.0), times=(1, 240)),
    ),
    objectives=[
        *_base_.dgcl.objectives[:2],
        dict(
            _base_.dgcl.objectives[2],
            weight=dict(type='Steps', values=[0.0, 0.0625], milestones=[1]),
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 210.125)),
        ),
    ],
)
