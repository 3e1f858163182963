# U2PL: self-training on all but the most uncertain pixels, whose features are negatives of a contrast. Times are those of VOC's 80
# epochs.
u2pl = dict(
    # averaged weights, copied in the first epoch of self-training; labelled images pass as well, for negatives and prototypes
    teacher=dict(
        weights='ema', mode='eval', buffers='average', rows='labeled+weak', start=1, copy_until=2
    ),
    # the most uncertain 20 % of the unlabelled pixels have no label at first, none at the end
    pseudo_label=dict(
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(0, 80), whole=True),
    ),
    mixing=dict(type='CutMix', prob=0.5),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only
        dict(
            type='SelfTrainingObjective',
            divisor='inverse',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
        ),
        dict(
            type='U2PLObjective',
            weight=dict(type='Steps', values=[0.0, 0.25], milestones=[1]),
            confidence=0.3,
            anchors=256,
            contrast=dict(type='QueueContrastLoss', negatives=50, temperature=0.5),
            unreliable=dict(type='Line', values=(20.0, 0.0), times=(0, 80), whole=True),
            low_rank=3,
            high_rank=20,
            queue_size=30_000,
            queue_sizes={0: 50_000},
            queue_dtype='bfloat16',
            keys_per_step=1000,
            momentum=0.01,
        ),
    ],
)
