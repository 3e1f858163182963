_base_ = './voc_cct_1000.py'
model = dict(student=dict(backbone=_base_.resnet50))
