# SUN RGB-D: no recipe was published for it; the optimiser is that of VOC, 80 epochs of 500 iterations.
_base_ = './voc.py'
train_cfg = dict(max_iters=80 * 500, val_interval=4 * 500)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * 500, by_epoch=False)
]
