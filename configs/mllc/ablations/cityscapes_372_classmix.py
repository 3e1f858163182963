# The baseline of MLLC on Cityscapes: ClassMix with an averaged teacher on the same network and crops; no graph, no embedding.
_base_ = [
    '../../_base_/models/deeplabv2_r101_caffe.py',
    '../../_base_/datasets/cityscapes_256x512.py',
    '../../_base_/recipes/mllc.py',
    '../../_base_/schedules/mllc.py',
    '../../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='cityscapes cps 372'))
model = dict(
    student=dict(decode_head=dict(num_classes=19)),
    **{
        **_base_.mllc,
        'objectives': [
            dict(type='SupervisedObjective'),
            dict(type='MLLCObjective', w_inter=0.0, w_intra=0.0),
        ],
    },
)
default_hooks = dict(teacher=dict(momentum=0.01))

train_cfg = dict(type='IterBasedTrainLoop', max_iters=16_000, val_interval=2000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=16_000, by_epoch=False)]
