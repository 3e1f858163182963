# VOC classic, 732 labelled images.
_base_ = './voc_1464.py'
split = 'data/splits/u2pl/voc/732'
iters = 985  # an epoch
model = dict(iters_per_epoch=iters)
train_dataloader = dict(
    dataset=dict(
        protocol='voc classic 732',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
train_cfg = dict(max_iters=50 * iters, val_interval=5 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=50 * iters, by_epoch=False)
]
