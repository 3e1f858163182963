_base_ = './cityscapes_372.py'
train_dataloader = dict(dataset=dict(split='cityscapes cps 1488'))
