# U2PL's contrast in the frame of lite.py, for maps of 41 x 41 positions.
_base_ = './fixmatch_lite.py'
contrast = dict(
    type='U2PLObjective',
    weight=dict(type='Steps', values=[0.0, 0.125], milestones=[1]),
    confidence=0.3,
    anchors=64,
    contrast=dict(type='QueueContrastLoss', negatives=50, temperature=0.5),
    unreliable=dict(type='Line', values=(20.0, 0.0), times=(0, 8), whole=True),
    low_rank=3,
    high_rank=20,
    queue_size=3000,
    keys_per_step=200,
    projection_channels=96,
    momentum=0.01,
)
model = dict(
    teacher=dict(rows='labeled+weak'),
    objectives=[dict(type='SupervisedObjective'), _base_.self_training, contrast],
)
