_base_ = './voc_cps_662.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='voc blender (cps) 5291'))
