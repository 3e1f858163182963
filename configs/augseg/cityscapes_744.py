_base_ = './cityscapes_372.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='cityscapes cps 744'))
