# UniMatch V2's optimiser for DINOv2: the decoder's learning rate is 40 times that of the pretrained backbone. Lengths are those of the
# config.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-6, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=40.0)}),
)
