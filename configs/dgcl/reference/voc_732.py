# What the authors' code computes (github.com/Gavinwxy/DGCL at 1f3ea3f), with its crashes repaired: strong views without
# colour, a teacher in train mode with BN statistics of its own, no contrast before all banks are full, and the weight that
# their 4 GPUs had. ResNet-101 with a 128-channel stem and dilations 2, 4, 8 in its last stage: convert its
# checkpoint with tools/model_converters/ddfp_resnet.py.
_base_ = '../voc_732.py'

# the authors' strong view is the weak one, mixed: no colour changes
views = ['labeled', 'weak', 'strong']
unlabeled_pipeline = [
    dict(type='LoadImage'),
    dict(type='InitValidMap'),
    dict(type='RandomScaleCrop', crop_size=(513, 513), ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='MultiBranch', branch_field=views, weak=[dict(type='PackSemiInputs')]),
]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(
    student=dict(
        backbone=dict(
            stem_channels=128,
            multi_grid=(2, 4, 8),
            init_cfg=dict(checkpoint='checkpoints/resnet101_stem128.pth'),
        ),
    ),
    # batch statistics and dropout; all through epoch 1 a copy of the student
    teacher=dict(mode='train', buffers='own', start=1, copy_until=2),
    pseudo_label=dict(
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(1, 80), whole=True),
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='inverse',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[1]),
        ),
        dict(
            type='DGCLObjective',
            weight=dict(type='Steps', values=[0.0, 0.125], milestones=[1]),
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 70.125), whole=True),
            contrast=dict(type='PrototypeContrastLoss', temperature=0.5),
            anchors=200,
            positives=50,
            bank_positives=50,
            negatives=512,
            max_density_queries=10000,
            bank_size=10000,
            rows_per_step=1000,
            density_after=1000,
            excluded_classes=(0,),
            gate='all',
        ),
    ],
)
