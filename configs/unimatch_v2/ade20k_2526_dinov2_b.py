_base_ = './ade20k_1263_dinov2_b.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='ade20k unimatch 2526'))
