_base_ = '../../supervised/voc_1464.py'
