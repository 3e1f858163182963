_base_ = '../../supervised/voc_366.py'
