_base_ = './voc_cps_2646.py'
model = dict(student=dict(backbone=_base_.resnet50))
