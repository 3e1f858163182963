# All 285 training frames labelled: the upper end of the semi-supervised runs.
_base_ = './camvid_clips_12_lite0.py'
train_dataloader = dict(dataset=dict(split='camvid_clips all'))
