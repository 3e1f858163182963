# CCT's own lists, 500 labelled images.
_base_ = './voc_1464.py'
split = 'data/splits/cct/voc/500'
iters = 1009  # an epoch
model = dict(iters_per_epoch=iters)
train_dataloader = dict(
    dataset=dict(
        protocol='voc cct 500',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
train_cfg = dict(max_iters=50 * iters, val_interval=5 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=50 * iters, by_epoch=False)
]
