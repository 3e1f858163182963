# F-Drop alone: six auxiliary decoders of one type.
_base_ = '../camvid_46_small.py'
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=8),
            perturbations=[dict(type='FeatureDrop', count=6)],
            background_classes=(0, 1, 3, 4, 5),
        ),
    ],
)
