# CCT on the demo's scenes: auxiliary decoders on perturbed features agree with the main one.
_base_ = [
    '../_base_/models/cct_small.py',
    '../_base_/datasets/quickstart.py',
    '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime.py',
]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_weak]
model = dict(
    iters_per_epoch=50,
    monitor_interval=10,
    student=dict(decode_head=dict(num_classes=6)),
    objectives=[
        dict(type='SupervisedObjective'),
        # from scratch, the first epoch's predictions are no target
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=1),
            # ground and sky: the other classes are objects
            background_classes=(0, 1),
        ),
    ],
)
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=200))
