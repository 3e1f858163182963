_base_ = './camvid_46_small.py'
train_dataloader = dict(dataset=dict(split='camvid 12 seed0'))
