# DDFP on the demo's scenes: FixMatch and the density-descending perturbation.
_base_ = './fixmatch.py'
model = dict(
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True)),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0, 0.5], milestones=[1, 2]),
        ),
        dict(
            type='DDFPObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[2]),
            density_start=1,
            eps=4.0,
            samples=512,
            hidden_channels=64,
            noise=0.05,
        ),
    ],
)
default_hooks = dict(flow=dict(type='FlowEstimatorHook', epochs=16))
