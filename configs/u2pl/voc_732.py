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
contrast = dict(_base_.u2pl.objectives[2], queue_sizes={0: 50_000})  # the background
model = dict(
    iters_per_epoch=615,
    **{**_base_.u2pl, 'objectives': [*_base_.u2pl.objectives[:2], contrast]},
)
default_hooks = dict(teacher=dict(momentum=0.01))
