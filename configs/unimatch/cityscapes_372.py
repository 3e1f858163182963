# Cityscapes (CPS lists), 372 labelled images: all pixels are learned from, labels by OHEM.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/cityscapes.py',
    '../_base_/recipes/unimatch.py',
    '../_base_/default_runtime.py',
]
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled_two]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_two_strong]
train_dataloader = dict(
    dataset=dict(
        split='cityscapes cps 372',
        labeled=dict(pipeline=labeled_pipeline),
        unlabeled=dict(pipeline=unlabeled_pipeline),
    )
)
model = dict(
    iters_per_epoch=325,
    student=dict(
        decode_head=dict(
            num_classes=19,
            dropout_ratio=0.0,
            loss_decode=dict(
                _delete_=True, type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=200_000
            ),
        ),
        test_cfg=dict(mode='slide', crop_size=(801, 801), stride=(534, 534)),
    ),
    **{**_base_.unimatch, 'pseudo_label': dict(type='ConfidenceThreshold', threshold=0.0)},
)
