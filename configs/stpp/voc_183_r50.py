_base_ = './voc_183.py'
model = dict(student=dict(backbone=_base_.resnet50))
