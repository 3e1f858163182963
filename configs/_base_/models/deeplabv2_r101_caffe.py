# DeepLabV2 at output stride 8 with a caffe-style ResNet-101 whose stem rounds up. MMSegmentation's ImageNet weights of this
# style expect BGR levels minus their mean, undivided; so do DeepLab's COCO weights (tools/model_converters).
_base_ = './segmentor.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(
        data_preprocessor=dict(
            mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
        ),
    ),
    student=dict(
        backbone=dict(
            type='CeilResNet',
            depth=101,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=norm_cfg,
            norm_eval=False,
            style='caffe',
            init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet101_caffe'),
        ),
        decode_head=dict(
            type='DeepLabV2Head',
            in_channels=2048,
            in_index=3,
            channels=256,
            dilations=(6, 12, 18, 24),
            dropout_ratio=0.1,
            num_classes=21,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
    ),
)
