"""Decode heads of this package, usable in any MMSegmentation config."""

from mmseg_semi.heads.cct_head import CCTHead
from mmseg_semi.heads.ddfp_head import DDFPHead
from mmseg_semi.heads.deeplabv2_head import DeepLabV2Head
from mmseg_semi.heads.deeplabv3plus_head import DeepLabV3PlusHead
from mmseg_semi.heads.dgcl_head import DGCLHead, Projection
from mmseg_semi.heads.mllc_head import MLLCHead, MLLCPlusHead
from mmseg_semi.heads.pixel_shuffle import DecoderStack, PixelShuffleDecoder, unshuffle
from mmseg_semi.heads.two_stage import HeadOutput, two_stage

__all__ = [
    'CCTHead',
    'DDFPHead',
    'DGCLHead',
    'DecoderStack',
    'DeepLabV2Head',
    'DeepLabV3PlusHead',
    'HeadOutput',
    'MLLCHead',
    'MLLCPlusHead',
    'PixelShuffleDecoder',
    'Projection',
    'two_stage',
    'unshuffle',
]
