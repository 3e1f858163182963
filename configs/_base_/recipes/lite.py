# How all *_lite0 configs learn from unlabelled images; a method adds its own part.
unlabeled_weight = 0.5
lite = dict(
    # the teacher: averaged weights and running statistics, no dropout
    teacher=dict(weights='ema', mode='eval', buffers='average', rows='weak', start=0),
    # below it are the pixels of classes that the teacher takes for their larger neighbour
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.7),
    # every second batch by boxes, the others with half of the classes of a labelled image, which
    # keeps rare ones in the strong view that the teacher does not predict
    mixing=dict(
        type='MixingChoice',
        mixings=[dict(type='CutMix', prob=1.0), dict(type='ClassMix', source='labeled')],
        probs=[0.5, 0.5],
    ),
    # labelled and mixed images have batch statistics of their own
    forward='stream',
    running_stats=None,  # of both
)
# epoch 0: labels only
self_training = dict(
    type='SelfTrainingObjective',
    divisor='valid',
    weight=dict(type='Steps', values=[0.0, unlabeled_weight], milestones=[1]),
)
