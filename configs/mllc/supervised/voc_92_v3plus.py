_base_ = '../../supervised/voc_92.py'
