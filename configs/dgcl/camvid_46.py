# CamVid from scratch, 46 labelled frames: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = ['../fixmatch/camvid_46.py', '../_base_/recipes/dgcl.py']
model = dict(
    student=_base_.dgcl.student,
    pseudo_label=dict(
        _base_.dgcl.pseudo_label,
        _delete_=True,
        drop=dict(type='Line', values=(20.0, 0.0), times=(1, 40)),
    ),
    objectives=[
        *_base_.dgcl.objectives[:2],
        dict(
            _base_.dgcl.objectives[2],
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 35.125)),
        ),
    ],
)
