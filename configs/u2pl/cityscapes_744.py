# Cityscapes (U2PL lists), 744 labelled images, in crops of 769 pixels: 200 epochs of 139 iterations, ceil(2231 / 8) // 2 on 8 GPUs with
# 2 + 2 images each; labels by OHEM, an auxiliary head; self-training from the first step.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/recipes/u2pl.py',
    '../_base_/default_runtime.py',
]
gpus = 8
crop_size = (769, 769)
crop = dict(_base_.crop, crop_size=crop_size)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        split='cityscapes u2pl 744',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    ),
)
ohem = dict(_delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=100_000)
supervised, self_training, contrast = _base_.u2pl.objectives
falling = dict(type='Line', values=(20.0, 0.0), times=(0, 200), whole=True)
model = dict(
    iters_per_epoch=139,
    student=dict(
        # output stride 8
        backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), multi_grid=(4, 8, 16)),
        decode_head=dict(num_classes=19, dilations=(12, 24, 36), loss_decode=ohem),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=1024,
            in_index=2,
            channels=256,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            align_corners=True,
            loss_decode=dict(
                type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=100_000, loss_weight=0.4
            ),
        ),
        test_cfg=dict(mode='slide', crop_size=crop_size, stride=(513, 513)),
    ),
    teacher=dict(_base_.u2pl.teacher, start=0, copy_until=1),
    pseudo_label=dict(_base_.u2pl.pseudo_label, drop=falling),
    mixing=_base_.u2pl.mixing,
    objectives=[
        supervised,
        dict(self_training, weight=1.0),
        dict(contrast, weight=0.125, unreliable=falling),
    ],
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200 * 139, val_interval=4 * 139)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=200 * 139, by_epoch=False)
]
default_hooks = dict(teacher=dict(momentum=0.01))
