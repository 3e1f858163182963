# What the authors' code computes (github.com/yassouali/CCT at 65d4e5b): 80 epochs, ResNet-50 with a stem of 64, 64 and 128
# channels (convert its checkpoint with tools/model_converters/ddfp_resnet.py), an adversarial step too short for float32,
# biases that differ within a pixel shuffle, padding compared like pixels, and the code's early stopping.
_base_ = ['../voc_1464_r50.py', '../../_base_/recipes/cct_reference.py']
iters = 912
model = dict(
    student=dict(
        backbone=dict(
            stem_channels=128, init_cfg=dict(checkpoint='checkpoints/resnet50_stem128.pth')
        ),
        decode_head=dict(bias_init='uniform'),
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            _base_.cct_reference,
            weight=dict(type='Ramp', value=30.0, length=8, kind='sigmoid'),
        ),
    ],
)
train_cfg = dict(max_iters=80 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * iters, by_epoch=False)
]
# the code ends once more than ten validations in a row have brought no gain
custom_hooks = [dict(type='SemiEarlyStoppingHook', monitor='mIoU', patience=11)]
