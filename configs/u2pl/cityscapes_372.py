_base_ = './cityscapes_744.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='cityscapes u2pl 372'))
