_base_ = './voc_732.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='voc classic 92'))
