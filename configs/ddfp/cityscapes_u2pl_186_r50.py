_base_ = './cityscapes_u2pl_186.py'
model = dict(student=dict(backbone=_base_.resnet50))
