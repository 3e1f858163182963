_base_ = './cityscapes_372.py'
from mmseg_semi.data.splits import row

globals().update(row(_base_, split='cityscapes u2pl 372'))
