# VOC: 1464 images with masks, 9118 with image-level labels, all of which have a weak mask; cross-consistency and weak loss.
_base_ = '../../../../configs/cct/voc_1464_r50.py'
custom_imports = dict(imports=['mmseg_semi', 'projects.weak_labels'], allow_failed_imports=False)
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        # the weak loss: 0.4 after the same ramp
        dict(
            type='WeakCCTObjective',
            weight=dict(type='Ramp', value=30.0, length=5, kind='sigmoid'),
        ),
    ],
)
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadWeakMask', masks='data/weak_labels/voc/masks', num_classes=21),
    *_base_.unlabeled_pipeline[1:],
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
