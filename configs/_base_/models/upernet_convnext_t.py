# UPerNet on ConvNeXt-T (arXiv 2201.03545), whose backbone comes from mmpretrain: pip install 'mmseg_semi[mmpretrain]' with the
# torchvision of your torch, see docs/installation.md. All norms see one pixel (LayerNorm) or one image (GroupNorm) at a time:
# there are no running statistics that mixed or strongly changed images could spoil.
_base_ = './segmentor.py'
norm_cfg = dict(type='GN', num_groups=32, requires_grad=True)
checkpoint = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/'
    'convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth'
)
model = dict(
    student=dict(
        backbone=dict(
            type='mmpretrain.ConvNeXt',
            arch='tiny',
            out_indices=[0, 1, 2, 3],
            gap_before_final_norm=False,
            drop_path_rate=0.4,
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone'),
        ),
        decode_head=dict(
            type='UPerHead',
            in_channels=[96, 192, 384, 768],
            in_index=[0, 1, 2, 3],
            pool_scales=(1, 2, 3, 6),
            channels=256,
            dropout_ratio=0.1,
            num_classes=21,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
    ),
)
