_base_ = './voc_cps_1323.py'
model = dict(student=dict(backbone=_base_.resnet50))
