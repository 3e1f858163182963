# DeepLabV3+ with a ResNet-50 at output stride 16.
_base_ = './deeplabv3plus_r101.py'
model = dict(student=dict(backbone=_base_.resnet50))
