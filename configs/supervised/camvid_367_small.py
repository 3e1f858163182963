# CamVid from scratch, all 367 training frames labelled: the upper end of the semi-supervised runs.
_base_ = './camvid_46_small.py'
train_dataloader = dict(dataset=dict(split='camvid all'))
