# UniMatch V2: an averaged teacher, and two strong views, of which one keeps the channels of the backbone that the other drops. The
# loss is (labelled + (strong + strong_2) / 2) / 2.
unimatch_v2 = dict(
    teacher=dict(weights='ema', mode='eval', buffers='average', rows='weak'),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95),
    # each strong view and each image with a box of its own
    mixing=dict(type='CutMix', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), coin='image'),
    forward=[['labeled'], ['strong', 'strong_2']],
    feature_views=[
        dict(
            type='ComplementaryChannelDropout',
            views=dict(dropped='strong', dropped_2='strong_2'),
            whole=0.5,
        )
    ],
    objectives=[
        dict(type='SupervisedObjective', weight=0.5),
        dict(type='SelfTrainingObjective', divisor='valid', weight=0.25, view='dropped'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=0.25,
            view='dropped_2',
            name='selftrain_2',
        ),
    ],
)
