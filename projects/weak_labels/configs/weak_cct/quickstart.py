# CCT on the demo's scenes, with weak masks of the unlabelled ones.
_base_ = './quickstart_without.py'
custom_imports = dict(imports=['mmseg_semi', 'projects.weak_labels'], allow_failed_imports=False)
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        # the weak loss: 0.4 after the same ramp
        dict(
            type='WeakCCTObjective',
            weight=dict(type='Ramp', value=30.0, length=2, kind='sigmoid', start=2),
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
