# A ResNet-101 at output stride 16, with ImageNet weights.
_base_ = './segmentor.py'
resnet50 = dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c'))  # of *_r50.py
model = dict(
    student=dict(
        backbone=dict(
            type='ResNetV1c',
            depth=101,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            contract_dilation=True,  # the first block of a dilated stage has half the dilation
            norm_cfg=_base_.norm_cfg,
            norm_eval=False,
            style='pytorch',
            init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
        ),
    ),
)
