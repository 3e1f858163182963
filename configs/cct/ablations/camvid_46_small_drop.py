# F-Drop alone: six auxiliary decoders of one type.
_base_ = '../camvid_46_small.py'
model = dict(
    objectives=[
        _base_.model.objectives[0],
        dict(_base_.model.objectives[1], perturbations=[dict(type='FeatureDrop', count=6)]),
    ],
)
