_base_ = './cityscapes_372.py'
model = dict(student=dict(backbone=_base_.resnet50))
