# VOC classic, 732 labelled images: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = ['../fixmatch/voc_732.py', '../_base_/recipes/dgcl.py']
model = dict(
    student=_base_.dgcl.student,
    pseudo_label=dict(_base_.dgcl.pseudo_label, _delete_=True),
    objectives=[
        *_base_.dgcl.objectives[:2],
        # the background is never an anchor
        dict(_base_.dgcl.objectives[2], excluded_classes=(0,)),
    ],
)
