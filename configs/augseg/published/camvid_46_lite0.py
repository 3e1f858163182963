# CamVid from ImageNet weights, 46 labelled frames: AugSeg's views and mixing in FixMatch's
# published frame, instead of that of lite.py.
_base_ = '../../fixmatch/published/camvid_46_lite0.py'
strong = [dict(type='RandomIntensity', most=3), dict(type='PackSemiInputs')]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], dict(_base_.to_both_lite, strong=strong)]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(mixing=dict(_delete_=True, type='AdaptiveCutMix', prob=0.5))
