_base_ = './voc_blender_2646.py'
model = dict(student=dict(backbone=_base_.resnet50))
