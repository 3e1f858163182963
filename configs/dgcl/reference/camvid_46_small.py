# What the authors' code computes (github.com/Gavinwxy/DGCL at 1f3ea3f), with its crashes repaired: strong views without
# colour, a teacher in train mode with BN statistics of its own, no contrast before all banks are full, and the weight that
# their 4 GPUs had.
_base_ = '../camvid_46_small.py'

# the authors' strong view is the weak one, mixed: no colour changes
views = ['labeled', 'weak', 'strong']
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(160, 120)),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=(112, 112), ratio_range=(0.75, 1.5)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, weak=[dict(type='PackSemiInputs')]),
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(
    # batch statistics and dropout; all through epoch 8 a copy of the student
    teacher=dict(mode='train', buffers='own', start=8, copy_until=9),
    pseudo_label=dict(
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(8, 20), whole=True),
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='inverse',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[8]),
        ),
        dict(
            type='DGCLObjective',
            weight=dict(type='Steps', values=[0.0, 0.125], milestones=[8]),
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(8, 18.5), whole=True),
            contrast=dict(type='PrototypeContrastLoss', temperature=0.5),
            anchors=40,
            positives=20,
            bank_positives=20,
            negatives=256,
            max_density_queries=10000,
            bank_size=1000,
            rows_per_step=200,
            density_after=200,
            excluded_classes=(),
            gate='all',
        ),
    ],
)
