# configs/quickstart/cct.py with weak masks of the unlabelled scenes; without them it is what this one is compared with.
_base_ = '../../../../configs/quickstart/cct.py'
custom_imports = dict(imports=['mmseg_semi', 'projects.weak_labels'], allow_failed_imports=False)
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        # the weak loss: 0.4 after the same ramp
        dict(
            type='WeakCCTObjective',
            weight=dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=1),
            background_classes=(0, 1),
        ),
    ],
)
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadWeakMask', masks='data/weak_labels/quickstart/masks/train', num_classes=6),
    *_base_.unlabeled_pipeline[1:],
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
