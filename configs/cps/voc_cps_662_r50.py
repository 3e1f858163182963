_base_ = './voc_cps_662.py'
model = dict(student=dict(backbone=_base_.resnet50))
