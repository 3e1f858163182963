_base_ = './voc_732.py'
train_dataloader = dict(dataset=dict(split='voc classic 92'))
