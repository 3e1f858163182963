_base_ = './cityscapes_744.py'
model = dict(student=dict(backbone=_base_.resnet50))
