# DeepLabV3+ with a ResNet-18 of a quarter of the width, from scratch: trains on a CPU.
norm_cfg = dict(type='BN', requires_grad=True)
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
            depth=18,
            base_channels=32,
            stem_channels=32,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            contract_dilation=True,
            norm_cfg=norm_cfg,
            norm_eval=False,
            style='pytorch',
        ),
        decode_head=dict(
            type='DeepLabV3PlusHead',
            in_channels=(32, 256),
            in_index=(0, 3),
            channels=64,
            low_channels=16,
            dilations=(2, 4, 6),
            dropout_ratio=0.1,
            num_classes=11,
            norm_cfg=norm_cfg,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
    objectives=[dict(type='SupervisedObjective')],
)
