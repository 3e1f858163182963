# Cityscapes (CPS lists), 372 labelled images, in crops of 800 pixels: 137 epochs of 325 iterations on 4 GPUs with 2 + 2 images each
# (published: 8 with 1 + 1; a box comes from another image of the GPU); labels by OHEM, weight 5.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/recipes/cps.py',
    '../_base_/default_runtime.py',
]
crop_size = (800, 800)
crop = dict(_base_.crop, crop_size=crop_size)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        split='cityscapes cps 372',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    ),
)
cross = dict(_base_.cps.objectives[1], weight=5.0)
model = dict(
    iters_per_epoch=325,
    student=dict(
        decode_head=dict(
            num_classes=19,
            dropout_ratio=0.0,
            loss_decode=dict(
                _delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=100_000
            ),
        ),
        test_cfg=dict(mode='slide', crop_size=crop_size, stride=(533, 533)),
    ),
    **{**_base_.cps, 'objectives': [_base_.cps.objectives[0], cross]},
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=137 * 325, val_interval=325)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=137 * 325, by_epoch=False)
]
