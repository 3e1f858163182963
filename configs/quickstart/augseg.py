# AugSeg's views on the demo's scenes, in FixMatch's frame there.
_base_ = './fixmatch.py'
strong = [dict(type='RandomIntensity', most=3), dict(type='PackSemiInputs')]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], dict(_base_.to_both_small, strong=strong)]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(mixing=dict(_delete_=True, type='AdaptiveCutMix', prob=0.5))
