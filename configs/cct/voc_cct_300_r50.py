_base_ = './voc_cct_300.py'
model = dict(student=dict(backbone=_base_.resnet50))
