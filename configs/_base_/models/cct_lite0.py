# CCT's network, pyramid pooling and a pixel-shuffle decoder at output stride 8, on EfficientNet-Lite0 with ImageNet weights.
_base_ = './deeplabv3plus_lite0.py'
model = dict(
    student=dict(
        backbone=dict(output_stride=8),
        decode_head=dict(
            _delete_=True,
            type='CCTHead',
            in_channels=320,
            in_index=3,
            channels=96,
            pool_scales=(1, 2, 3, 6),
            upscale=8,
            num_classes=_base_.model.student.decode_head.num_classes,
            norm_cfg=_base_.norm_cfg,
            align_corners=False,
            loss_decode=_base_.model.student.decode_head.loss_decode,
        ),
    ),
    # labelled and unlabelled images in a call each
    forward='stream',
)
