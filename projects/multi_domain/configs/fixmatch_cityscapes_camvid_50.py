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
            train_dataloader=dict(
                dataset=dict(
                    protocol=None,
                    labeled=dict(ann_file='data/splits/cityscapes/50/labeled.txt'),
                    unlabeled=dict(ann_file='data/splits/cityscapes/50/unlabeled.txt'),
                )
            ),
        ),
        domain(
            'camvid',
            'configs/fixmatch/camvid_46.py',
            model=dict(
                iters_per_epoch=500,
            ),
            train_dataloader=dict(
                dataset=dict(
                    labeled=dict(ann_file='projects/multi_domain/splits/camvid/50/labeled.txt'),
                    unlabeled=dict(ann_file='projects/multi_domain/splits/camvid/50/unlabeled.txt'),
                )
            ),
        ),
    )
)
