"""Decode heads that more than one method uses; they work in any MMSegmentation config.

``two_stage.py`` explains the contract that objectives need from a head.
"""

from mmseg_semi._moved import moved_names
from mmseg_semi.heads.decode_losses import decode_losses
from mmseg_semi.heads.deeplabv2 import DeepLabV2Head
from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead
from mmseg_semi.heads.dpt import DPTMapHead
from mmseg_semi.heads.two_stage import HeadOutput, two_stage

__all__ = [
    'DPTMapHead',
    'DeepLabV2Head',
    'DeepLabV3PlusHead',
    'HeadOutput',
    'decode_losses',
    'two_stage',
]

__getattr__ = moved_names(
    __name__,
    {
        'CCTHead': 'methods.cct.head',
        'DDFPHead': 'methods.ddfp.head',
        'DGCLHead': 'methods.dgcl.head',
        'DecoderStack': 'methods.cct.pixel_shuffle',
        'MLLCHead': 'methods.mllc.head',
        'MLLCPlusHead': 'methods.mllc.head',
        'PixelShuffleDecoder': 'methods.cct.pixel_shuffle',
        'Projection': 'methods.dgcl.head',
        'unshuffle': 'methods.cct.pixel_shuffle',
    },
)
