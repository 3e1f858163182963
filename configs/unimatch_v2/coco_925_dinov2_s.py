# COCO (UniMatch V2's lists), 925 labelled images, DPT on DINOv2 ViT-S/14: 20 epochs of 7335 iterations on 4 GPUs with 4 + 4 images each.
_base_ = [
    '../_base_/models/dpt_dinov2_s.py',
    '../_base_/datasets/coco_518.py',
    '../_base_/schedules/dinov2.py',
    '../_base_/default_runtime.py',
    '../_base_/recipes/unimatch_v2.py',
]
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled_two]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_two_strong]
train_dataloader = dict(
    dataset=dict(
        split='coco unimatch 925',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    )
)
model = dict(
    iters_per_epoch=7335,
    student=dict(decode_head=dict(num_classes=81)),
    **_base_.unimatch_v2,
)
default_hooks = dict(teacher=dict(momentum=0.004))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20 * 7335, val_interval=7335)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=20 * 7335, by_epoch=False)
]
