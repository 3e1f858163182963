# What the authors' code computes (github.com/yassouali/CCT at 65d4e5b): 80 epochs, ResNet-50 with a stem of 64, 64 and 128
# channels (convert its checkpoint with tools/model_converters/ddfp_resnet.py), an adversarial step too short for float32,
# biases that differ within a pixel shuffle, padding compared like pixels.
_base_ = '../voc_1464_r50.py'
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
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=8, kind='sigmoid'),
            perturbations=[
                dict(type='VirtualAdversarial', count=2, xi=1e-6, eps=2.0, guard=1e-8),
                dict(type='FeatureDropout', count=6, p=0.5),
                dict(type='GuidedCutout', count=6, erase_side=0.4),
                dict(type='ContextMask', count=2),
                dict(type='ObjectMask', count=2),
                dict(type='FeatureDrop', count=6, low=0.7, high=0.9),
                dict(type='FeatureNoise', count=6, uniform_range=0.3),
            ],
            bias_init='uniform',
            compare_padding=True,
        ),
    ],
)
train_cfg = dict(max_iters=80 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * iters, by_epoch=False)
]
