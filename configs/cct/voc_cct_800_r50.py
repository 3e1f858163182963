_base_ = './voc_cct_800.py'
model = dict(student=dict(backbone=_base_.resnet50))
