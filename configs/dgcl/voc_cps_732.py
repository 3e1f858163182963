# VOC classic (CPS): unlabelled images are the rest of the 1,464 only, 732 labelled images; as many iterations as voc_732.
_base_ = './voc_732.py'
split = 'data/splits/cps/voc/732'
iters = 615  # an epoch
model = dict(iters_per_epoch=iters)
train_dataloader = dict(
    dataset=dict(
        protocol='voc classic (cps) 732',
        allow_overlap=True,  # as published: one image is labelled and unlabelled
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
train_cfg = dict(max_iters=80 * iters, val_interval=4 * iters)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80 * iters, by_epoch=False)
]
