# Cityscapes (U2PL lists), 186 labelled images.
_base_ = './cityscapes_372.py'
split = 'data/splits/u2pl/cityscapes/186'
train_dataloader = dict(
    dataset=dict(
        protocol='cityscapes u2pl 186',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
