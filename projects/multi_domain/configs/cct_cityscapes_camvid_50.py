# CCT on Cityscapes and CamVid, 50 labelled images each, ResNet-50.
_base_ = '_base_/gpu_run.py'
from projects.multi_domain.recipe import domain, join  # noqa: E402  (_base_ first, or it is no text config)

globals().update(
    join(
        domain(
            'cityscapes',
            'configs/cct/cityscapes_372_r50.py',
            model=dict(
                iters_per_epoch=500,
                objectives=[
                    dict(type='SupervisedObjective'),
                    dict(
                        type='CCTObjective',
                        weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid'),
                        # road, sidewalk, building, wall, vegetation, terrain, sky: the other classes are objects
                        background_classes=(0, 1, 2, 3, 8, 9, 10),
                    ),
                ],
            ),
            train_dataloader=dict(dataset=dict(split='cityscapes 50')),
        ),
        domain(
            'camvid',
            'configs/cct/camvid_46.py',
            model=dict(
                iters_per_epoch=500,
                objectives=[
                    dict(type='SupervisedObjective'),
                    dict(
                        type='CCTObjective',
                        weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid'),
                        # sky, building, road, pavement, tree: the other classes are objects
                        background_classes=(0, 1, 3, 4, 5),
                    ),
                ],
            ),
            train_dataloader=dict(dataset=dict(split='projects/multi_domain/splits/camvid/50')),
        ),
        # CCT's encoder ends behind the pyramid pooling
        share=('backbone', 'decode_head.psp_modules', 'decode_head.bottleneck'),
    )
)
