# FixMatch: the student learns, on a strong view, the label that an averaged teacher is confident of on the weak one.
fixmatch = dict(
    # the teacher: averaged weights, running statistics copied from the student, no dropout
    teacher=dict(weights='ema', mode='eval', buffers='copy', rows='labeled+weak', start=1),
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        # from the second epoch on
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
        ),
    ],
)
