# What the authors' code computes (github.com/Gavinwxy/DGCL at 1f3ea3f), with its crashes repaired: strong views without
# colour, a teacher in train mode with BN statistics of its own, no contrast before all banks are full, and the weight that
# their 4 GPUs had.
_base_ = '../camvid_46_small.py'

# the authors' strong view is the weak one, mixed: no colour changes
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(
    # batch statistics and dropout; all through epoch 8 a copy of the student
    teacher=dict(mode='train', buffers='own', start=8, copy_until=9),
    pseudo_label=dict(drop=dict(whole=True)),
    objectives=[
        _base_.model.objectives[0],
        dict(_base_.model.objectives[1], divisor='inverse'),
        dict(
            _base_.model.objectives[2],
            uncertain=dict(_base_.model.objectives[2].uncertain, whole=True),
            gate='all',
        ),
    ],
)
