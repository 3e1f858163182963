_base_ = './voc_cct_100.py'
model = dict(student=dict(backbone=_base_.resnet50))
