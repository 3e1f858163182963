"""Decode heads of this package, usable in any MMSegmentation config."""

from mmseg_semi.heads.ddfp_head import DDFPHead
from mmseg_semi.heads.deeplabv3plus_head import DeepLabV3PlusHead
from mmseg_semi.heads.two_stage import HeadOutput, two_stage

__all__ = ['DDFPHead', 'DeepLabV3PlusHead', 'HeadOutput', 'two_stage']
