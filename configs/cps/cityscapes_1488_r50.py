_base_ = './cityscapes_1488.py'
model = dict(student=dict(backbone=_base_.resnet50))
