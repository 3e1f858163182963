# VOC blender (U2PL), 5291 labelled images.
_base_ = './voc_732.py'
split = 'data/splits/u2pl/voc/5291'
train_dataloader = dict(
    dataset=dict(
        protocol='voc blender (u2pl) 5291',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
