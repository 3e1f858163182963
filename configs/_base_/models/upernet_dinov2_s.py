# UPerNet on DINOv2 ViT-S/14 (arXiv 2304.07193), whose backbone comes from mmpretrain: pip install 'mmseg_semi[mmpretrain]'
# with the torchvision of your torch, see docs/installation.md. Crops must be multiples of 14 pixels.
_base_ = './segmentor.py'
checkpoint = (
    'https://download.openmmlab.com/mmpretrain/v1.0/dinov2/'
    'vit-small-p14_dinov2-pre_3rdparty_20230426-5641ca5a.pth'
)
model = dict(
    # test images are padded to whole patches; the prediction is cut back
    data_preprocessor=dict(data_preprocessor=dict(test_cfg=dict(size_divisor=14))),
    student=dict(
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch='dinov2-small',
            img_size=518,
            patch_size=14,
            layer_scale_init_value=1e-5,
            out_indices=[2, 5, 8, 11],
            out_type='featmap',
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone'),
        ),
        # four layers on one grid are resized to strides 3.5, 7, 14 and 28
        neck=dict(
            type='Feature2Pyramid', embed_dim=384, rescales=[4, 2, 1, 0.5], norm_cfg=_base_.norm_cfg
        ),
        decode_head=dict(
            type='UPerHead',
            in_channels=[384, 384, 384, 384],
            in_index=[0, 1, 2, 3],
            pool_scales=(1, 2, 3, 6),
            channels=256,
            dropout_ratio=0.1,
            num_classes=21,
            norm_cfg=_base_.norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
    ),
)
