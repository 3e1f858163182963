_base_ = './cityscapes_186.py'
model = dict(student=dict(backbone=_base_.resnet50))
