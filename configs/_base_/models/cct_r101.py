# PSPNet with a ResNet-101 at output stride 8 and a pixel-shuffle decoder: CCT's network.
_base_ = './resnet101.py'
model = dict(
    student=dict(
        backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        decode_head=dict(
            type='CCTHead',
            in_channels=2048,
            in_index=3,
            channels=512,
            pool_scales=(1, 2, 3, 6),
            upscale=8,
            num_classes=21,
            norm_cfg=_base_.norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
    ),
    # labelled and unlabelled images in a call each
    forward='stream',
)
