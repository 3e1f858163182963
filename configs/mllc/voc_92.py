# VOC classic, 92 labelled images.
_base_ = './voc_732.py'
split = 'data/splits/u2pl/voc/92'
train_dataloader = dict(
    dataset=dict(
        protocol='voc classic 92',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
