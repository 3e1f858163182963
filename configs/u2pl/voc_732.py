# VOC classic, 732 labelled images: 80 epochs, the strong view is the weak one, mixed.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/voc.py',
    '../_base_/recipes/u2pl.py',
    '../_base_/default_runtime.py',
]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
train_dataloader = dict(
    dataset=dict(split='voc classic 732', unlabeled=dict(pipeline=unlabeled_pipeline))
)
model = dict(
    iters_per_epoch=615,
    student=dict(
        # output stride 8
        backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), multi_grid=(4, 8, 16)),
        decode_head=dict(dilations=(12, 24, 36)),
    ),
    **_base_.u2pl,
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'projection': dict(lr_mult=10.0)}))
default_hooks = dict(teacher=dict(momentum=0.01))
