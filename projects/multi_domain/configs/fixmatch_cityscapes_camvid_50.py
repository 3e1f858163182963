# FixMatch on Cityscapes and CamVid, 50 labelled images each, ResNet-50.
_base_ = '_base_/gpu_run.py'
from projects.multi_domain.recipe import domain, join  # noqa: E402  (_base_ first, or it is no text config)

globals().update(
    join(
        domain(
            'cityscapes',
            'configs/fixmatch/cityscapes_372_r50.py',
            model=dict(
                iters_per_epoch=500,
            ),
            train_dataloader=dict(dataset=dict(split='cityscapes 50')),
        ),
        domain(
            'camvid',
            'configs/fixmatch/camvid_46.py',
            model=dict(
                iters_per_epoch=500,
            ),
            train_dataloader=dict(dataset=dict(split='projects/multi_domain/splits/camvid/50')),
        ),
    )
)
