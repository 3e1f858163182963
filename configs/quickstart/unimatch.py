# UniMatch on the demo's scenes, in FixMatch's frame there.
_base_ = './fixmatch.py'
labeled_pipeline = [*_base_.labeled_pipeline[:-1], _base_.to_labeled_two]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], _base_.to_two_strong_small]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=labeled_pipeline), unlabeled=dict(pipeline=unlabeled_pipeline)
    )
)
parts = dict(selftrain=('strong', 0.25), selftrain_2=('strong_2', 0.25), features=('features', 0.5))
model = dict(
    # as published: with strong views in one call, dropped channels spoil the batch statistics of all
    forward=[['labeled', 'weak'], ['strong', 'strong_2']],
    feature_views=[dict(type='ChannelDropout', views=dict(features='weak'), prob=0.5)],
    objectives=[
        _base_.model.objectives[0],
        *[
            dict(
                _base_.model.objectives[1],
                weight=dict(type='Steps', values=[0.0, share], milestones=[1]),
                view=view,
                name=name,
            )
            for name, (view, share) in parts.items()
        ],
    ],
)
del parts
