# CamVid from scratch, 46 labelled frames: FixMatch and the density-descending perturbation.
_base_ = '../fixmatch/camvid_46_small.py'
model = dict(
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True)),
    objectives=[
        dict(type='SupervisedObjective'),
        # 8 epochs of labels only; then self-training, and the flow learns; from epoch 9: both at half weight
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
        ),
    ],
)
default_hooks = dict(
    # the decay counts from epoch 0, the flow begins at epoch 8 of 20: a slower one than 0.01 in all
    flow=dict(type='FlowEstimatorHook', lr=1e-3, betas=(0.5, 0.9), clip=50.0, epochs=60)
)
