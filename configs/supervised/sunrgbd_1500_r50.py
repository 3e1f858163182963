# SUN RGB-D, 1500 labelled images drawn at random: the same steps as the semi-supervised runs, without their unlabelled images.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/sunrgbd.py',
    '../_base_/default_runtime.py',
]
model = dict(iters_per_epoch=500, student=dict(decode_head=dict(num_classes=37)))
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80 * 500, val_interval=4 * 500)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * 500, by_epoch=False)
]
