# VOC classic, 732 labelled images: MLLC on DeepLabV2. The paper's iterations and lists are not known; batch, crops, learning
# rates and length are those of the authors' released config, on one GPU.
_base_ = [
    '../_base_/models/deeplabv2_r101_caffe.py',
    '../_base_/datasets/voc_321.py',
    '../_base_/recipes/mllc.py',
    '../_base_/schedules/mllc.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='voc classic 732'))
model = dict(
    student=dict(decode_head=dict(type='MLLCHead', embedding_channels=256, rounds=2)),
    **_base_.mllc,
)
default_hooks = dict(teacher=dict(momentum=0.01))

train_cfg = dict(type='IterBasedTrainLoop', max_iters=160_000, val_interval=4000)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=160_000, by_epoch=False)
]
