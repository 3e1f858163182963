# VOC classic, 732 labelled images: MLLC on DeepLabV2. The paper's iterations and lists are not known; batch, crops, learning
# rates and length are those of the authors' released config, on one GPU.
_base_ = [
    '../_base_/models/deeplabv2_r101_caffe.py',
    '../_base_/datasets/voc_321.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='voc classic 732'))
model = dict(
    student=dict(decode_head=dict(type='MLLCHead', embedding_channels=256, rounds=2)),
    teacher=dict(weights='ema', mode='eval', buffers='copy', rows='weak'),
    pseudo_label=dict(type='TrainedGraphCorrection', num_classes=21),
    mixing=dict(
        type='ColourAfterMixing',
        num_classes=21,
        mixing=dict(type='ClassMix', num_classes=21),
        mean=[103.530, 116.280, 123.675],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    forward='stream',
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', w_inter=0.1, w_intra=0.1, inter_start=2000),
    ],
)
default_hooks = dict(teacher=dict(momentum=0.01))

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160_000, val_interval=4000)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=160_000, by_epoch=False)
]
