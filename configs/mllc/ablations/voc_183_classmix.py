_base_ = './voc_732_classmix.py'
train_dataloader = dict(dataset=dict(split='voc classic 183'))
