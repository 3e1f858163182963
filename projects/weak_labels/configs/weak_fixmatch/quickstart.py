# FixMatch on the demo's scenes, with weak masks as further pseudo-labels.
_base_ = '../../../../configs/quickstart/fixmatch.py'
custom_imports = dict(imports=['mmseg_semi', 'projects.weak_labels'], allow_failed_imports=False)
model = dict(
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
        ),
        # less than the 0.4 of CCT's auxiliary decoders: here masks of three of six classes train the main decoder
        dict(
            type='WeakSelfTrainingObjective',
            weight=dict(type='Steps', values=[0.0, 0.1], milestones=[1]),
        ),
    ],
)
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadWeakMask', masks='data/weak_labels/quickstart/masks/train', num_classes=6),
    *_base_.unlabeled_pipeline[1:],
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
