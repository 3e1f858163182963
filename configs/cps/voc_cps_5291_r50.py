_base_ = './voc_cps_5291.py'
model = dict(student=dict(backbone=_base_.resnet50))
