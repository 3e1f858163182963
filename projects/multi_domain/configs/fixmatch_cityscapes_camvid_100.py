# FixMatch on Cityscapes and CamVid, 100 labelled images each, ResNet-50.
_base_ = './fixmatch_cityscapes_camvid_50.py'
train_dataloader = dict(
    dataset=dict(
        domains=dict(
            cityscapes=dict(
                labeled=dict(ann_file='data/splits/cityscapes/100/labeled.txt'),
                unlabeled=dict(ann_file='data/splits/cityscapes/100/unlabeled.txt'),
            ),
            camvid=dict(
                labeled=dict(ann_file='projects/multi_domain/splits/camvid/100/labeled.txt'),
                unlabeled=dict(ann_file='projects/multi_domain/splits/camvid/100/unlabeled.txt'),
            ),
        )
    )
)
