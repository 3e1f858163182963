# DDFP: FixMatch, and the density-descending perturbation, which moves features to where a flow finds few others.
ddfp = dict(
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True)),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only; epoch 1: self-training, and the flow learns; from epoch 2: both at half weight
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
            samples=20480,
            noise=0.05,
        ),
    ],
)
flow = dict(type='FlowEstimatorHook', lr=1e-3, betas=(0.5, 0.9), clip=50.0)  # and its epochs
