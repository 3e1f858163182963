# FixMatch on Cityscapes and SUN RGB-D, 1,500 labelled images each, ResNet-50.
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
            train_dataloader=dict(dataset=dict(split='cityscapes 1500')),
        ),
        domain('sunrgbd', 'projects/multi_domain/configs/single/fixmatch_sunrgbd.py'),
    )
)
