# DPT on DINOv2 ViT-S/14, the network of UniMatch V2; see upernet_dinov2_s.py for the backbone. Configs of DINOv2 ViT-B/14 put `base`
# into `model.student`.
_base_ = './upernet_dinov2_s.py'
model = dict(
    student=dict(
        neck=None,
        decode_head=dict(
            _delete_=True,
            type='DPTMapHead',
            embed_dims=384,
            in_channels=[384, 384, 384, 384],
            in_index=[0, 1, 2, 3],
            post_process_channels=[48, 96, 192, 384],
            patch_size=14,
            channels=64,
            dropout_ratio=0.0,
            num_classes=21,
            norm_cfg=None,
            align_corners=True,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
    ),
)
base = dict(
    backbone=dict(
        arch='base',  # its name in mmpretrain: width and depth of DINOv2 ViT-B
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpretrain/v1.0/dinov2/'
            'vit-base-p14_dinov2-pre_3rdparty_20230426-ba246503.pth'
        ),
    ),
    decode_head=dict(
        embed_dims=768,
        in_channels=[768, 768, 768, 768],
        post_process_channels=[96, 192, 384, 768],
        channels=128,
    ),
)
