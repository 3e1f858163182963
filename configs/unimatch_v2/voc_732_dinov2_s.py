# VOC classic, 732 labelled images, DPT on DINOv2 ViT-S/14: 60 epochs of 615 iterations on 4 GPUs with 4 + 4 images each.
_base_ = [
    '../_base_/models/dpt_dinov2_s.py',
    '../_base_/datasets/voc_518.py',
    '../_base_/schedules/dinov2.py',
    '../_base_/default_runtime.py',
    '../_base_/recipes/unimatch_v2.py',
]
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled_two]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_two_strong]
train_dataloader = dict(
    dataset=dict(
        split='voc classic 732',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    )
)
model = dict(iters_per_epoch=615, **_base_.unimatch_v2)
default_hooks = dict(teacher=dict(momentum=0.004))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=60 * 615, val_interval=4 * 615)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=60 * 615, by_epoch=False)
]
