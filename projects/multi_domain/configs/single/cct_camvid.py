# CamVid alone, for comparison: 46 labelled frames, CCT, labels only in the first four of twelve epochs.
_base_ = '../../../../configs/cct/camvid_46_small.py'
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=4),
            # sky, building, road, pavement, tree: the other classes are objects
            background_classes=(0, 1, 3, 4, 5),
        ),
    ],
)
train_cfg = dict(max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=600, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=300))
