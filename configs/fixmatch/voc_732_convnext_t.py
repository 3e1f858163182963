# VOC classic, 732 labelled images, UPerNet on ConvNeXt-T: learning rates that fall from layer to layer, and dropped paths. The optimiser
# is that of ConvNeXt on ADE20K; the schedule is a starting point, no result is published for it.
_base_ = [
    '../_base_/models/upernet_convnext_t.py',
    '../_base_/datasets/voc.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='voc classic 732'))
model = dict(iters_per_epoch=615, **_base_.fixmatch)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.9, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=60 * 615, val_interval=4 * 615)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=615, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=615, end=60 * 615, by_epoch=False),
]
