# DGCL in the frame of lite.py: FixMatch, and the density-guided contrast. DGCL's own labels, by entropy percentiles, are
# pseudo_label=dict(_delete_=True, type='EntropyPercentile', drop=dict(type='Line', values=(20.0, 0.0), times=(1, 8)))
_base_ = ['./fixmatch_lite.py', './contrast_lite.py']
model = dict(
    objectives=[dict(type='SupervisedObjective'), _base_.self_training, _base_.contrast],
)
