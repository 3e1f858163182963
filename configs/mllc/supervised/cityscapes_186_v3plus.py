_base_ = '../../supervised/cityscapes_186.py'
