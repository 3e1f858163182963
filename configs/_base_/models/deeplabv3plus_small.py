# DeepLabV3+ with a ResNet-18 of half the width, from scratch: trains on a CPU.
_base_ = './deeplabv3plus_r101.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    student=dict(
        backbone=dict(
            depth=18, base_channels=32, stem_channels=32, norm_cfg=norm_cfg, init_cfg=None
        ),
        decode_head=dict(
            in_channels=(32, 256),
            channels=64,
            low_channels=16,
            dilations=(2, 4, 6),
            num_classes=11,
            norm_cfg=norm_cfg,
        ),
    ),
)
