# UniMatch's views in the frame of lite.py: the weight of FixMatch's strong view is shared by two strong views, a quarter each, and
# the view of features with dropped channels, a half.
_base_ = './fixmatch_lite.py'
parts = dict(selftrain=('strong', 0.25), selftrain_2=('strong_2', 0.25), features=('features', 0.5))
model = dict(
    feature_views=[dict(type='ChannelDropout', views=dict(features='weak'), prob=0.5)],
    objectives=[
        dict(type='SupervisedObjective'),
        *[
            dict(
                _base_.self_training,
                weight=dict(
                    _base_.self_training.weight, values=[0.0, share * _base_.unlabeled_weight]
                ),
                view=view,
                name=name,
            )
            for name, (view, share) in parts.items()
        ],
    ],
)
del parts
