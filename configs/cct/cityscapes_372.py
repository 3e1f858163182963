# Cityscapes (CPS lists), 372 labelled images: cross-consistency of thirty auxiliary decoders.
_base_ = [
    '../_base_/models/cct_r101.py',
    '../_base_/datasets/cityscapes_512x1024.py',
    '../_base_/schedules/cct.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='cityscapes cps 372'))
iters = 325  # an epoch: ceil(2603 / 4) // 2 on 4 GPUs with 2 + 2 images each
model = dict(
    iters_per_epoch=iters,
    student=dict(
        decode_head=dict(num_classes=19),
        test_cfg=dict(mode='slide', crop_size=(512, 1024), stride=(341, 683)),
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='CCTObjective',
            weight=dict(type='Ramp', value=30.0, length=24, kind='sigmoid'),
            # road, sidewalk, building, wall, vegetation, terrain, sky: the other classes are objects
            background_classes=(0, 1, 2, 3, 8, 9, 10),
        ),
    ],
)

# No recipe of CCT for Cityscapes alone was published: as many iterations as the other methods here have, the learning
# rates of VOC.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=240 * iters, val_interval=4 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=240 * iters, by_epoch=False)
]
