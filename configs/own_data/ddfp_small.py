# DDFP on own folders from scratch, with a network that trains on a CPU.
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/own_data_small.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/recipes/ddfp.py',
    '../_base_/schedules/own_data_small.py',
]
model = dict(
    iters_per_epoch=_base_.epoch,
    student=dict(decode_head=dict(type='DDFPHead', split_norms=True, num_classes=2)),
    teacher=_base_.fixmatch.teacher,
    pseudo_label=dict(type='ConfidenceThreshold', threshold=0.8),
    mixing=_base_.fixmatch.mixing,
    objectives=[
        *_base_.ddfp.objectives[:2],
        dict(_base_.ddfp.objectives[2], samples=1024, hidden_channels=64),
    ],
)
default_hooks = dict(flow=dict(type='FlowEstimatorHook', epochs=20))
