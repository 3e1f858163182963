# The baseline of CCT on Cityscapes and CamVid, 100 labelled images each.
_base_ = './supervised_cityscapes_camvid_50.py'
train_dataloader = dict(
    dataset=dict(
        domains=dict(
            cityscapes=dict(split='cityscapes 100'),
            camvid=dict(split='projects/multi_domain/splits/camvid/100'),
        )
    )
)
