_base_ = './voc_732.py'
train_dataloader = dict(dataset=dict(split='voc blender (u2pl) 2646'))
