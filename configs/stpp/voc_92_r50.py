_base_ = './voc_92.py'
model = dict(student=dict(backbone=_base_.resnet50))
