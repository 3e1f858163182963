# VOC classic, 1464 labelled images: cross-consistency of thirty auxiliary decoders.
_base_ = [
    '../_base_/models/cct_r101.py',
    '../_base_/datasets/voc_320.py',
    '../_base_/schedules/cct.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='voc classic 1464'))
drop_last = False  # the last batch of an epoch counts, too
iters = 912  # an epoch: the unlabelled images once, ceil(9118 / 10)
model = dict(
    iters_per_epoch=iters,
    objectives=[
        dict(type='SupervisedObjective'),
        # F-Noise 6, F-Drop 6, DropOut 6, Con-Msk 2, Obj-Msk 2, G-Cutout 6, I-VAT 2; full weight from a tenth of the run
        dict(type='CCTObjective', weight=dict(type='Ramp', value=30.0, length=5, kind='sigmoid')),
    ],
)

# 50 epochs, as in the paper; the released configuration has 80 (configs/cct/reference)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=50 * iters, val_interval=5 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=50 * iters, by_epoch=False)
]
