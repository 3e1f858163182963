# Control: features are moved by the same length in a random direction instead of down the density.
_base_ = '../camvid_46_small.py'
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0, 0.5], milestones=[8, 9]),
        ),
        dict(
            type='DDFPObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[9]),
            density_start=8,
            eps=4.0,
            samples=1024,
            hidden_channels=64,
            noise=0.05,
            direction='random',
        ),
    ],
)
