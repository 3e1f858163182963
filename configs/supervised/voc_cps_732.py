# VOC classic (CPS): unlabelled images are the rest of the 1,464 only, 732 labelled images; as many iterations as voc_732.
_base_ = './voc_732.py'
train_dataloader = dict(dataset=dict(split='voc classic (cps) 732'))
