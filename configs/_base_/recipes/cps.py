# Cross pseudo supervision: two students with different initialisation, each learns what the other predicts, on unlabelled images
# mixed by boxes (cps), or on labelled and unlabelled ones as they are (cps_plain). Weights are those of VOC.
cps = dict(
    peer=True,
    # the other student, by the statistics of the batch
    teacher=dict(weights='student', mode='train', rows='weak'),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.0),
    mixing=dict(type='CutMix', prob=1.0),
    forward='stream',
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='SelfTrainingObjective', divisor='valid', weight=1.0, name='cross'),
    ],
)
cps_plain = dict(
    cps,
    teacher=dict(weights='student', mode='train', rows='labeled+weak'),
    mixing=None,
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='CrossPseudoObjective', weight=1.5),
    ],
)
