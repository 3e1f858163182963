"""Transforms of one sample, in the order of a pipeline.

- ``loading``: read an image and its label map.
- ``pseudo_masks``: masks of unlabelled images that stand in files.
- ``geometry``: resize, pad and crop the image and all of its maps; ``resizing`` holds the
  arithmetic.
- ``erasing``: a box of the image becomes noise.
- ``packing``: one pipeline per view, and the sample that the model receives.

Colour, which the strong view alone has, stands in :mod:`mmseg_semi.data.colour`.
"""

from mmseg_semi.data.decoding import DeferredImage, decode_image, read_labels, to_class_indices
from mmseg_semi.data.transforms.erasing import RandomErasing
from mmseg_semi.data.transforms.geometry import (
    EvaluateAtThisSize,
    InitValidMap,
    PadAllMaps,
    RandomRelativeResize,
    RandomScaleCrop,
    ResizeAnyImage,
)
from mmseg_semi.data.transforms.loading import (
    LoadAnyImage,
    LoadAnyLabels,
    LoadImage,
    LoadSegLabels,
)
from mmseg_semi.data.transforms.packing import MultiBranch, PackSemiInputs
from mmseg_semi.data.transforms.pseudo_masks import LoadPseudoMask, save_mask
from mmseg_semi.data.transforms.resizing import resize_labels, resize_window

__all__ = [
    'DeferredImage',
    'EvaluateAtThisSize',
    'InitValidMap',
    'LoadAnyImage',
    'LoadAnyLabels',
    'LoadImage',
    'LoadPseudoMask',
    'LoadSegLabels',
    'MultiBranch',
    'PackSemiInputs',
    'PadAllMaps',
    'RandomErasing',
    'RandomRelativeResize',
    'RandomScaleCrop',
    'ResizeAnyImage',
    'decode_image',
    'read_labels',
    'resize_labels',
    'resize_window',
    'save_mask',
    'to_class_indices',
]
