# Cityscapes (CPS lists), 372 labelled images: the same steps as the semi-supervised runs.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime.py',
]
model = dict(
    iters_per_epoch=325,
    student=dict(
        decode_head=dict(
            num_classes=19,
            loss_decode=dict(
                _delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=200_000
            ),
        ),
        test_cfg=dict(mode='slide', crop_size=(801, 801), stride=(534, 534)),
    ),
)

train_dataloader = dict(
    batch_size=2,
    sampler=dict(batch_size=2, source_ratio=[1]),
    dataset=dict(
        protocol='cityscapes cps 372',
        labeled=dict(ann_file='data/splits/cps/cityscapes/372/labeled.txt'),
        unlabeled=None,
    ),
)

# 240 epochs of 325 iterations: ceil(2603 / 4) // 2 on 4 GPUs with 2 + 2 images each. No Cityscapes recipe of DDFP was
# published; learning rate, epochs and OHEM are those of UniMatch (github.com/LiheYoung/UniMatch), which it builds on.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='StudentOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=240 * 325, val_interval=4 * 325)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=240 * 325, by_epoch=False)
]
