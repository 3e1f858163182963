_base_ = '../../supervised/voc_183.py'
