_base_ = './cityscapes_u2pl_1488.py'
model = dict(student=dict(backbone=_base_.resnet50))
