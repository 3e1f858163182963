_base_ = './voc_1464.py'
model = dict(student=dict(backbone=_base_.resnet50))
