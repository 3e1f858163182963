_base_ = './cityscapes_u2pl_744.py'
model = dict(student=dict(backbone=_base_.resnet50))
