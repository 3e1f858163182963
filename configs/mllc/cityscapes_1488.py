# Cityscapes (CPS lists), 1488 labelled images.
_base_ = './cityscapes_372.py'
split = 'data/splits/cps/cityscapes/1488'
train_dataloader = dict(
    dataset=dict(
        protocol='cityscapes cps 1488',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
