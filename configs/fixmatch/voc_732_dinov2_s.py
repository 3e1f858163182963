# VOC classic, 732 labelled images, UPerNet on DINOv2 ViT-S/14. Optimiser, crop, epochs and averaging are those of UniMatch V2
# (github.com/LiheYoung/UniMatch-V2), which decodes with DPT.
_base_ = [
    '../_base_/models/upernet_dinov2_s.py',
    '../_base_/datasets/voc_518.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='voc classic 732'))
model = dict(iters_per_epoch=615, **_base_.fixmatch)
default_hooks = dict(teacher=dict(momentum=0.004))

# 60 epochs of 615 iterations on 4 GPUs with 4 + 4 images each; the decoder's learning rate is 40 times the pretrained backbone's
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-6, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=40.0), 'neck': dict(lr_mult=40.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=60 * 615, val_interval=4 * 615)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=60 * 615, by_epoch=False)
]
