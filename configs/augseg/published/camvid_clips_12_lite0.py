# CamVid from ImageNet weights, 12 labelled frames of one clip, evaluated on two others: AugSeg's views and mixing in FixMatch's
# published frame, instead of that of lite.py.
_base_ = '../../fixmatch/published/camvid_clips_12_lite0.py'
strong = [dict(type='RandomIntensity', most=3), dict(type='PackSemiInputs')]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], dict(_base_.to_both_lite, strong=strong)]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(mixing=dict(_delete_=True, type='AdaptiveCutMix', prob=0.5))
