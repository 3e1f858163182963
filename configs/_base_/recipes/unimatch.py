# UniMatch: two strong views of one weak view, and a view of its features with half of the channels dropped. The student labels.
# The loss is (labelled + (strong / 4 + strong_2 / 4 + features / 2)) / 2.
unimatch = dict(
    # the student itself, with running statistics
    teacher=dict(weights='student', mode='eval', rows='weak'),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95),
    # each strong view and each image with a box of its own
    mixing=dict(type='CutMix', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), coin='image'),
    feature_views=[dict(type='ChannelDropout', views=dict(features='weak'), prob=0.5)],
    forward=[['labeled', 'weak'], ['strong', 'strong_2']],
    objectives=[
        dict(type='SupervisedObjective', weight=0.5),
        dict(type='SelfTrainingObjective', divisor='valid', weight=0.125),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=0.125,
            view='strong_2',
            name='selftrain_2',
        ),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=0.25,
            view='features',
            name='features',
        ),
    ],
)
