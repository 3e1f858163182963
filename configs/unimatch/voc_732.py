# VOC classic, 732 labelled images, in crops of 321 pixels: 80 epochs of 1,231 iterations, ceil(9850 / 4) // 2 on 4 GPUs with
# 2 + 2 images each.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc_two_each.py',
    '../_base_/schedules/voc.py',
    '../_base_/recipes/unimatch.py',
    '../_base_/default_runtime.py',
]
crop_size = (321, 321)
crop = dict(_base_.crop, crop_size=crop_size)
labeled_pipeline = [_base_.load, _base_.labels, crop, _base_.flip, _base_.to_labeled_two]
unlabeled_pipeline = [_base_.load, _base_.valid, crop, _base_.flip, _base_.to_two_strong]
train_dataloader = dict(
    dataset=dict(
        split='voc classic 732',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    ),
)
model = dict(
    iters_per_epoch=1231, student=dict(decode_head=dict(dropout_ratio=0.0)), **_base_.unimatch
)
train_cfg = dict(max_iters=80 * 1231, val_interval=4 * 1231)
param_scheduler = [dict(_base_.param_scheduler[0], end=80 * 1231)]
