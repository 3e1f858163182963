_base_ = './voc_1464.py'
from mmseg_semi.data.splits import row

globals().update(row(_base_, split='voc classic 366'))
