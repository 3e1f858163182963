# PSPNet with a ResNet-101 at output stride 8 and a pixel-shuffle decoder: CCT's network, supervised.
norm_cfg = dict(type='SyncBN', requires_grad=True)  # plain BN in a run of one process
model = dict(
    type='SemiSegmentor',
    data_preprocessor=dict(
        type='SemiDataPreprocessor',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_val=0,
            seg_pad_val=255,
        ),
    ),
    student=dict(
        type='EncoderDecoder',
        backbone=dict(
            type='ResNetV1c',
            depth=101,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            contract_dilation=True,  # the first block of stages 3 and 4 has half the dilation
            norm_cfg=norm_cfg,
            norm_eval=False,
            style='pytorch',
            init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
        ),
        decode_head=dict(
            type='CCTHead',
            in_channels=2048,
            in_index=3,
            channels=512,
            pool_scales=(1, 2, 3, 6),
            upscale=8,
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
    # labelled and unlabelled images in a call each
    forward='stream',
    objectives=[dict(type='SupervisedObjective')],
)
