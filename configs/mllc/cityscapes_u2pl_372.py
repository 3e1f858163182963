# Cityscapes (U2PL lists), 372 labelled images.
_base_ = './cityscapes_372.py'
split = 'data/splits/u2pl/cityscapes/372'
train_dataloader = dict(
    dataset=dict(
        protocol='cityscapes u2pl 372',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
