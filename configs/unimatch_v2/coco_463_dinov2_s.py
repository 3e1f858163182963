_base_ = './coco_925_dinov2_s.py'
from mmseg_semi.data.splits import on_split

globals().update(on_split(_base_, split='coco unimatch 463'))
