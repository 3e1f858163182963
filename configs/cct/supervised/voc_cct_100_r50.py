_base_ = './voc_1464_r50.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='voc cct 100'))
