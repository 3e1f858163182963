# DeepLabV3+ with a ResNet-101 at output stride 16.
_base_ = './resnet101.py'
model = dict(
    student=dict(
        decode_head=dict(
            type='DeepLabV3PlusHead',
            in_channels=(256, 2048),
            in_index=(0, 3),
            channels=256,
            low_channels=48,
            dilations=(6, 12, 18),
            dropout_ratio=0.1,
            num_classes=21,
            norm_cfg=_base_.norm_cfg,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
    ),
)
