# What the authors' code computes (github.com/Gavinwxy/DGCL at 1f3ea3f), with its crashes repaired: strong views without
# colour, a teacher in train mode with BN statistics of its own, no contrast before all banks are full, and the weight that
# their 4 GPUs had. ResNet-101 with a 128-channel stem and dilations 2, 4, 8 in its last stage: convert its
# checkpoint with tools/model_converters/ddfp_resnet.py.
_base_ = '../voc_732.py'

# as often smaller as larger, without antialiasing, padded on all sides with the mean colour (BGR)
crop = dict(
    _base_.crop,
    factor='halves',
    interpolation='bilinear_plain',
    padding='centre',
    pad_val=dict(img=(104, 116, 124), seg=255),
)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
# the authors' strong view is the weak one, mixed: no colour changes
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
model = dict(
    student=dict(
        backbone=dict(
            stem_channels=128,
            multi_grid=(2, 4, 8),
            init_cfg=dict(checkpoint='checkpoints/resnet101_stem128.pth'),
        ),
    ),
    # batch statistics and dropout; all through epoch 1 a copy of the student
    teacher=dict(mode='train', buffers='own', start=1, copy_until=2),
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
