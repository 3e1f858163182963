# U2PL on the demo's scenes: FixMatch, and a contrast with unreliable pixels. Six classes: ranks 2 to 5 are negatives.
_base_ = './fixmatch.py'
contrast = dict(
    type='U2PLObjective',
    weight=dict(type='Steps', values=[0.0, 0.125], milestones=[1]),
    anchors=32,
    unreliable=dict(type='Line', values=(20.0, 0.0), times=(0, 32), whole=True),
    low_rank=2,
    queue_size=1000,
    keys_per_step=100,
    projection_channels=64,
    momentum=0.02,
)
model = dict(objectives=[*_base_.model.objectives, contrast])
