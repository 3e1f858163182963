_base_ = './camvid_46.py'
train_dataloader = dict(dataset=dict(split='camvid 92 seed0'))
