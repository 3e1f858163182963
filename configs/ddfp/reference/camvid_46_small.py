# What the authors' code computes, on CamVid: one set of weights, a teacher in train mode with BN statistics of its own,
# means over confident pixels, the warm-up's routing of half the rows through the auxiliary norms.
_base_ = '../camvid_46_small.py'
model = dict(
    teacher=dict(weights='shared', mode='train', buffers='own', start=0),
    objectives=[
        _base_.model.objectives[0],
        dict(_base_.model.objectives[1], divisor='confident'),
        dict(_base_.model.objectives[2], divisor='confident', auxiliary_half=True),
    ],
)
