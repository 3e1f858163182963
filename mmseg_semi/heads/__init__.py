"""Decode heads of this package, usable in any MMSegmentation config."""

from mmseg_semi.heads.ddfp_head import DDFPHead
from mmseg_semi.heads.deeplabv3plus_head import DeepLabV3PlusHead
from mmseg_semi.heads.dgcl_head import DGCLHead, Projection
from mmseg_semi.heads.two_stage import HeadOutput, two_stage

__all__ = [
    'DDFPHead',
    'DGCLHead',
    'DeepLabV3PlusHead',
    'HeadOutput',
    'Projection',
    'two_stage',
]
