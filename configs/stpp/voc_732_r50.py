_base_ = './voc_732.py'
model = dict(student=dict(backbone=_base_.resnet50))
