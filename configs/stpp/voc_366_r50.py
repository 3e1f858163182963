_base_ = './voc_366.py'
model = dict(student=dict(backbone=_base_.resnet50))
