_base_ = './voc_cct_60.py'
model = dict(student=dict(backbone=_base_.resnet50))
