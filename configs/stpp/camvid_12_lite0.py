_base_ = './camvid_46_lite0.py'
train_dataloader = dict(dataset=dict(split='camvid 12 seed0'))
