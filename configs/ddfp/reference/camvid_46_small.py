# What the authors' code computes, on CamVid: one set of weights, a teacher in train mode with BN statistics of its own,
# means over confident pixels, the warm-up's routing of half the rows through the auxiliary norms.
_base_ = '../camvid_46_small.py'
model = dict(
    teacher=dict(weights='shared', mode='train', buffers='own', start=0),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='confident',
            weight=dict(type='Steps', values=[0.0, 1.0, 0.5], milestones=[8, 9]),
        ),
        dict(
            type='DDFPObjective',
            divisor='confident',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[9]),
            density_start=8,
            eps=4.0,
            samples=1024,
            hidden_channels=64,
            noise=0.05,
            auxiliary_half=True,
        ),
    ],
)
