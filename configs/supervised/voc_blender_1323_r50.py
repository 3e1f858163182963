_base_ = './voc_blender_1323.py'
model = dict(student=dict(backbone=_base_.resnet50))
