# CamVid alone, for comparison: 46 labelled frames, FixMatch, labels only in the first four of twelve epochs.
_base_ = '../../../../configs/fixmatch/camvid_46_small.py'
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[4]),
        ),
    ],
)
train_cfg = dict(max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=600, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=300))
