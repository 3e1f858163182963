_base_ = './camvid_46_small.py'
train_dataloader = dict(dataset=dict(split='camvid 92 seed0'))
