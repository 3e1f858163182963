# Cityscapes (CPS lists), 186 labelled images.
_base_ = './cityscapes_372.py'
split = 'data/splits/cps/cityscapes/186'
train_dataloader = dict(
    dataset=dict(
        protocol='cityscapes cps 186',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
