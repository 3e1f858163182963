# CCT for a short run from ImageNet weights: thirty auxiliary decoders, no teacher, hence nothing of lite.py.
_base_ = ['../models/cct_lite0.py', '../schedules/lite.py']
model = dict(
    iters_per_epoch=_base_.epoch,
    objectives=[
        dict(type='SupervisedObjective'),
        # epoch 0: labels only
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=1, kind='sigmoid', start=1),
            # of CamVid sky, building, road, pavement, tree: the other classes are objects
            background_classes=(0, 1, 3, 4, 5),
        ),
    ],
)
