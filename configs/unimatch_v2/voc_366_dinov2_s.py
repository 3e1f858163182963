_base_ = './voc_732_dinov2_s.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='voc classic 366'))
