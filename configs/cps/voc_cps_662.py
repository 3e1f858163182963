# VOC blender (CPS lists), 662 labelled images, in crops of 512 pixels: 34 epochs of 1,240 iterations, ceil(9920 / 4) // 2 on 4 GPUs with
# 2 + 2 images each; one learning rate for backbone and decoder, 0.0025 times the number of GPUs.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc_two_each.py',
    '../_base_/recipes/cps.py',
    '../_base_/default_runtime.py',
]
crop_size = (512, 512)
crop = dict(_base_.crop, crop_size=crop_size)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_weak]
train_dataloader = dict(
    dataset=dict(
        split='voc blender (cps) 662',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    ),
)
model = dict(iters_per_epoch=1240, student=dict(decode_head=dict(dropout_ratio=0.0)), **_base_.cps)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=34 * 1240, val_interval=2 * 1240)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=34 * 1240, by_epoch=False)
]
