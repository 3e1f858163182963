# What the authors' code computes (github.com/Gavinwxy/DDFP at 7956c72): one set of weights, a teacher in train mode with
# BN statistics of its own, means over confident pixels, the warm-up's routing of half the rows through the auxiliary
# norms, and the ResNet-101 with a 128-channel stem: convert its checkpoint with
# tools/model_converters/ddfp_resnet.py.
_base_ = '../voc_732.py'
model = dict(
    student=dict(
        backbone=dict(
            stem_channels=128, init_cfg=dict(checkpoint='checkpoints/resnet101_stem128.pth')
        ),
    ),
    teacher=dict(weights='shared', mode='train', buffers='own', start=0),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='confident',
            weight=dict(type='Steps', values=[0.0, 1.0, 0.5], milestones=[1, 2]),
        ),
        dict(
            type='DDFPObjective',
            divisor='confident',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[2]),
            density_start=1,
            eps=4.0,
            samples=20480,
            noise=0.05,
            auxiliary_half=True,
        ),
    ],
)
