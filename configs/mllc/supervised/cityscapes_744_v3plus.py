_base_ = '../../supervised/cityscapes_744.py'
