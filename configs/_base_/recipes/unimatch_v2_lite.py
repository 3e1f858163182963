# UniMatch V2's views in the frame of lite.py: what one of two strong views keeps of the channels of the backbone the other drops.
_base_ = './fixmatch_lite.py'
parts = dict(selftrain='dropped', selftrain_2='dropped_2')
model = dict(
    # both strong views in one call, where their channels are divided
    forward=[['labeled'], ['strong', 'strong_2']],
    feature_views=[
        dict(
            type='ComplementaryChannelDropout',
            views=dict(dropped='strong', dropped_2='strong_2'),
            whole=0.5,
        )
    ],
    objectives=[
        dict(type='SupervisedObjective'),
        *[
            dict(
                _base_.self_training,
                weight=dict(_base_.self_training.weight, values=[0.0, _base_.unlabeled_weight / 2]),
                view=view,
                name=name,
            )
            for name, view in parts.items()
        ],
    ],
)
del parts
