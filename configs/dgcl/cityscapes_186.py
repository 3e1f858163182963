# Cityscapes (CPS lists), 186 labelled images.
_base_ = './cityscapes_372.py'
split = 'data/splits/cps/cityscapes/186'
iters = 349  # an epoch
model = dict(iters_per_epoch=iters)
train_dataloader = dict(
    dataset=dict(
        protocol='cityscapes cps 186',
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
train_cfg = dict(max_iters=240 * iters, val_interval=4 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=240 * iters, by_epoch=False)
]
