# VOC blender (U2PL), 2646 labelled images.
_base_ = './voc_732.py'
split = 'data/splits/u2pl/voc/2646'
train_dataloader = dict(
    dataset=dict(
        protocol='voc blender (u2pl) 2646',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
