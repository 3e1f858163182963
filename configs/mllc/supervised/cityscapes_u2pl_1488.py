_base_ = './cityscapes_372.py'
train_dataloader = dict(dataset=dict(split='cityscapes u2pl 1488'))
