# ADE20K (UniMatch V2's lists), 1263 labelled images, DPT on DINOv2 ViT-S/14: 60 epochs of 2368 iterations on 4 GPUs with 2 + 2 images
# each. The backbone is trained, as in the logs of the published rows; the configuration file beside them has lock_backbone: True.
_base_ = [
    '../_base_/models/dpt_dinov2_s.py',
    '../_base_/datasets/ade20k_518.py',
    '../_base_/schedules/dinov2.py',
    '../_base_/default_runtime.py',
    '../_base_/recipes/unimatch_v2.py',
]
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled_two]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_two_strong]
train_dataloader = dict(
    dataset=dict(
        split='ade20k unimatch 1263',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    )
)
model = dict(
    iters_per_epoch=2368,
    student=dict(decode_head=dict(num_classes=150)),
    **_base_.unimatch_v2,
)
default_hooks = dict(teacher=dict(momentum=0.004))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=60 * 2368, val_interval=4 * 2368)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=60 * 2368, by_epoch=False)
]
