# ST++ on the demo's scenes; run it by tools/selective_retraining.py.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
unlabeled_pipeline = [
    _base_.load,
    dict(type='LoadPseudoMask', num_classes=_base_.num_classes),
    *_base_.unlabeled_pipeline[1:-1],
    _base_.to_pseudo_labeled_small,
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(
    iters_per_epoch=50,
    monitor_interval=10,
    student=dict(decode_head=dict(num_classes=6)),
    objectives=[dict(type='SupervisedObjective'), dict(type='PseudoMaskObjective')],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
