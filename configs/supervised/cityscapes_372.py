# Cityscapes (CPS lists), 372 labelled images: the same steps as the semi-supervised runs.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/cityscapes.py',
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
    dataset=dict(split='cityscapes cps 372', unlabeled=None),
)
