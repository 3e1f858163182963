# VOC blender (CPS), 662 labelled images.
_base_ = './voc_732.py'
split = 'data/splits/cps/voc/662'
train_dataloader = dict(
    dataset=dict(
        protocol='voc blender (cps) 662',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
