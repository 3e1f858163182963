# DGCL in the frame of lite.py: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = ['./fixmatch_lite.py', './contrast_lite.py']
model = dict(
    # the most uncertain 20 % of the unlabelled pixels have no label at first, none at the end
    pseudo_label=dict(
        _delete_=True,
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(1, 8)),
    ),
    objectives=[dict(type='SupervisedObjective'), _base_.self_training, _base_.contrast],
)
