# VOC classic, 732 labelled images: the same steps as the semi-supervised runs, without their unlabelled images.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc.py',
    '../_base_/default_runtime.py',
]

model = dict(iters_per_epoch=615)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(
        protocol='voc classic 732',
        labeled=dict(ann_file='data/splits/u2pl/voc/732/labeled.txt'),
        unlabeled=None,
    ),
)

# 80 epochs of 615 iterations: ceil(9850 / 4) // 4 on 4 GPUs with 4 + 4 images each
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80 * 615, val_interval=4 * 615)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * 615, by_epoch=False)
]
