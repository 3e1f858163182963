# CCT's own lists, 1000 labelled images, as the authors' code computes it.
_base_ = './voc_1464_r50.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='voc cct 1000'))
