_base_ = './camvid_46_lite0.py'
train_dataloader = dict(dataset=dict(split='camvid 92 seed0'))
