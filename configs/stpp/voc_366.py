_base_ = './voc_732.py'
from mmseg_semi.methods.stpp import lengths_on_split

globals().update(lengths_on_split(_base_, split='voc classic 366'))
