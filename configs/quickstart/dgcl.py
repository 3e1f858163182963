# DGCL on the demo's scenes: FixMatch with entropy percentiles, and the density-guided contrast.
_base_ = './fixmatch.py'
model = dict(
    student=dict(decode_head=dict(type='DGCLHead', projection=True, projection_channels=64)),
    # the most uncertain 20 % of the unlabelled pixels have no label at first, none at the end
    pseudo_label=dict(
        _delete_=True,
        type='EntropyPercentile',
        drop=dict(type='Line', values=(20.0, 0.0), times=(1, 32)),
    ),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[1]),
        ),
        dict(
            type='DGCLObjective',
            weight=dict(type='Steps', values=[0.0, 0.125], milestones=[1]),
            uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 28)),
            anchors=20,
            positives=10,
            bank_positives=10,
            negatives=128,
            max_density_queries=500,
            bank_size=500,
            rows_per_step=100,
            density_after=100,
        ),
    ],
)
