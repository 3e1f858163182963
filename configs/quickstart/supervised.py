# The demo's baseline: the labelled scenes alone, as many steps as the semi-supervised runs.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=50,
    monitor_interval=10,
    student=dict(decode_head=dict(num_classes=6)),
)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(unlabeled=None),
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
