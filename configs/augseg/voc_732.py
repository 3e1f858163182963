# VOC classic, 732 labelled images: FixMatch's frame with AugSeg's strong view and label-injecting CutMix.
_base_ = '../fixmatch/voc_732.py'
strong = [dict(type='RandomIntensity', most=3), dict(type='PackSemiInputs')]
unlabeled_pipeline = [*_base_.unlabeled_pipeline[:-1], dict(_base_.to_both, strong=strong)]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(mixing=dict(_delete_=True, type='AdaptiveCutMix', prob=0.5))
