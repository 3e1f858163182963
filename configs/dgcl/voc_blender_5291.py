# VOC blender (U2PL), 5291 labelled images.
_base_ = './voc_732.py'
split = 'data/splits/u2pl/voc/5291'
iters = 330  # an epoch
model = dict(iters_per_epoch=iters)
train_dataloader = dict(
    dataset=dict(
        protocol='voc blender (u2pl) 5291',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
train_cfg = dict(max_iters=80 * iters, val_interval=4 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * iters, by_epoch=False)
]
