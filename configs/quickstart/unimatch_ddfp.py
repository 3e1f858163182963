# DDFP's perturbation of the strong view and UniMatch's view of dropped features together, on the demo's scenes.
_base_ = './ddfp.py'
model = dict(
    forward=[['labeled', 'weak'], ['strong']],  # see unimatch.py
    feature_views=[dict(type='ChannelDropout', views=dict(features='weak'), prob=0.5)],
    objectives=[
        *_base_.model.objectives,
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[1]),
            view='features',
            name='features',
        ),
    ],
)
