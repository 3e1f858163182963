# What the authors' code computes (github.com/Gavinwxy/DGCL at 1f3ea3f), with its crashes repaired: output stride 8, dilations
# 4, 8, 16 in the last stage, crops of 769, an auxiliary head, strong views without colour, a teacher in train mode with BN
# statistics of its own, labels alone for ten epochs, no contrast before all banks are full, and the weight that their 8 GPUs had.
# ResNet-101 with a 128-channel stem: convert its checkpoint with tools/model_converters/ddfp_resnet.py.
_base_ = '../cityscapes_372.py'
crop_size = (769, 769)
gpus = 8
iters = 163  # an epoch: ceil(2603 / 8) // 2 on 8 GPUs with 2 + 2 images each
labels_alone = 10  # epochs
norm_cfg = dict(type='SyncBN', requires_grad=True)
ohem = dict(type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=100_000)

# as often smaller as larger, without antialiasing, padded on all sides with the mean colour (BGR)
crop = dict(
    type='RandomScaleCrop',
    crop_size=crop_size,
    ratio_range=(0.5, 2.0),
    factor='halves',
    interpolation='bilinear_plain',
    padding='centre',
    pad_val=dict(img=(104, 116, 124), seg=255),
)
# the authors' strong view is the weak one, mixed: no colour changes
load = dict(type='LoadImage')
labeled_pipeline = [load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [load, _base_.valid, crop, _base_.flip, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)

model = dict(
    iters_per_epoch=iters,
    student=dict(
        backbone=dict(
            stem_channels=128,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            multi_grid=(4, 8, 16),
            init_cfg=dict(checkpoint='checkpoints/resnet101_stem128.pth'),
        ),
        decode_head=dict(dilations=(12, 24, 36), loss_decode=ohem),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=1024,
            in_index=2,
            channels=256,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(loss_weight=0.4, **ohem),
        ),
        test_cfg=dict(crop_size=(800, 800)),
    ),
    # batch statistics and dropout; a copy of the student all through the first epoch of self-training
    teacher=dict(mode='train', buffers='own', start=labels_alone, copy_until=labels_alone + 1),
    pseudo_label=dict(drop=dict(times=(labels_alone, 200), whole=True)),
    objectives=[
        _base_.model.objectives[0],
        dict(
            _base_.model.objectives[1],
            weight=dict(_base_.model.objectives[1].weight, milestones=[labels_alone]),
            divisor='inverse',
        ),
        dict(
            _base_.model.objectives[2],
            weight=dict(_base_.model.objectives[2].weight, milestones=[labels_alone]),
            # 10 % after seven eighths of the other 190 epochs
            uncertain=dict(
                _base_.model.objectives[2].uncertain, times=(labels_alone, 176.25), whole=True
            ),
            gate='all',
        ),
    ],
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_cfg = dict(max_iters=200 * iters, val_interval=4 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=200 * iters, by_epoch=False)
]
