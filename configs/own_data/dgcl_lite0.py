# DGCL on own folders, with an EfficientNet-Lite0 that knows ImageNet: trains on a CPU.
_base_ = ['../_base_/datasets/own_data_lite.py', '../_base_/recipes/dgcl_lite.py']
model = dict(student=dict(decode_head=dict(num_classes=2)))
