_base_ = './voc_blender_662.py'
model = dict(student=dict(backbone=_base_.resnet50))
