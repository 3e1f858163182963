# Cityscapes (CPS lists), 372 labelled images, DPT on DINOv2 ViT-S/14: 180 epochs of 325 iterations on 4 GPUs with 2 + 2 images each,
# in crops of 57 x 57 patches, labels by OHEM.
_base_ = [
    '../_base_/models/dpt_dinov2_s.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/dinov2.py',
    '../_base_/default_runtime.py',
    '../_base_/recipes/unimatch_v2.py',
]
crop_size = (798, 798)
crop = dict(_base_.crop, crop_size=crop_size)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled_two]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_two_strong]
train_dataloader = dict(
    dataset=dict(
        split='cityscapes cps 372',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    )
)
model = dict(
    iters_per_epoch=325,
    student=dict(
        decode_head=dict(
            num_classes=19,
            loss_decode=dict(
                _delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=200_000
            ),
        ),
        test_cfg=dict(mode='slide', crop_size=crop_size, stride=(532, 532)),
    ),
    **_base_.unimatch_v2,
)
default_hooks = dict(teacher=dict(momentum=0.004))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=180 * 325, val_interval=4 * 325)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=180 * 325, by_epoch=False)
]
