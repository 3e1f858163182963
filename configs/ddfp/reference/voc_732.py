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
        _base_.model.objectives[0],
        dict(_base_.model.objectives[1], divisor='confident'),
        dict(_base_.model.objectives[2], divisor='confident', auxiliary_half=True),
    ],
)
