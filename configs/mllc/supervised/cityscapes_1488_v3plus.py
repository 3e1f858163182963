_base_ = '../../supervised/cityscapes_1488.py'
