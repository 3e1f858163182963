# DeepLabV3+ with a ResNet-50 for data sets that are trained from scratch: no weights are downloaded.
_base_ = './deeplabv3plus_r50.py'
model = dict(student=dict(backbone=dict(init_cfg=None), decode_head=dict(num_classes=11)))
