_base_ = './voc_732.py'
train_dataloader = dict(dataset=dict(split='voc blender (cps) 662'))
