# CCT's own lists, 1000 labelled images, as the authors' code computes it.
_base_ = './voc_1464_r50.py'
split = 'data/splits/cct/voc/1000'
iters = 959  # an epoch
model = dict(iters_per_epoch=iters)
train_dataloader = dict(
    dataset=dict(
        protocol='voc cct 1000',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
train_cfg = dict(max_iters=80 * iters, val_interval=5 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * iters, by_epoch=False)
]
