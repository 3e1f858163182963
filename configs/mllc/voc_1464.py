# VOC classic, 1464 labelled images.
_base_ = './voc_732.py'
split = 'data/splits/u2pl/voc/1464'
train_dataloader = dict(
    dataset=dict(
        protocol='voc classic 1464',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
