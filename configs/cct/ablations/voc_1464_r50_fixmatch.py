# FixMatch with the network, crops and steps of CCT: what the decoders add to its step, and whether they are worth it.
_base_ = ['../voc_1464_r50.py', '../../_base_/recipes/fixmatch.py']
unlabeled_pipeline = [_base_.load, _base_.valid, _base_.crop, _base_.flip, _base_.to_both]
train_dataloader = dict(dataset=dict(unlabeled=dict(pipeline=unlabeled_pipeline)))
model = dict(**_base_.fixmatch)
