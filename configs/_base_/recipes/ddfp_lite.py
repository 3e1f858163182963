# DDFP in the frame of lite.py: FixMatch, and the density-descending perturbation.
_base_ = './fixmatch_lite.py'
half = _base_.unlabeled_weight / 2
model = dict(
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True)),
    # the density is also that of labelled images
    teacher=dict(rows='labeled+weak'),
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only; epoch 1: self-training, and the flow learns; from epoch 2: both at half weight
        dict(
            _base_.self_training,
            weight=dict(type='Steps', values=[0.0, 2 * half, half], milestones=[1, 2]),
        ),
        dict(
            type='DDFPObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, half], milestones=[2]),
            density_start=1,
            eps=2.5,  # 4.0 for 304 channels, here there are 120: the same length in a channel
            samples=2048,
            hidden_channels=96,
            noise=0.05,
        ),
    ],
)
default_hooks = dict(
    flow=dict(type='FlowEstimatorHook', lr=1e-3, betas=(0.5, 0.9), clip=50.0, epochs=8)
)
