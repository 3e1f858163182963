# All 367 training frames labelled: the upper end of the semi-supervised runs.
_base_ = './camvid_46_lite0.py'
train_dataloader = dict(dataset=dict(split='camvid all'))
