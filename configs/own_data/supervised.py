# Labelled images of own folders alone, with a pretrained ResNet-50: what ddfp.py is compared with.
_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/own_data.py',
    '../_base_/default_runtime.py',
]
iterations = 20000
epoch = iterations // 40
model = dict(iters_per_epoch=epoch, student=dict(decode_head=dict(num_classes=2)))
# the settings of VOC's configs
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_dataloader = _base_.labeled_only
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=2 * epoch)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)
]
default_hooks = dict(checkpoint=dict(interval=2 * epoch))
