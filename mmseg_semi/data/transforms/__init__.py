"""Transforms of one sample, in the order of a pipeline.

- ``loading``: read an image and its label map.
- ``geometry``: resize, pad and crop the image and all of its maps; ``resizing`` holds the
  arithmetic.
- ``packing``: one pipeline per view, and the sample that the model receives.

Colour, which the strong view alone has, stands in :mod:`mmseg_semi.data.colour`.
"""

from mmseg_semi.data.decoding import DeferredImage, decode_image, read_labels, to_class_indices
from mmseg_semi.data.transforms.geometry import (
    EvaluateAtThisSize,
    InitValidMap,
    PadAllMaps,
    RandomRelativeResize,
    RandomScaleCrop,
)
from mmseg_semi.data.transforms.loading import (
    LoadAnyImage,
    LoadAnyLabels,
    LoadImage,
    LoadSegLabels,
)
from mmseg_semi.data.transforms.packing import MultiBranch, PackSemiInputs
from mmseg_semi.data.transforms.resizing import resize_labels, resize_window

__all__ = [
    'DeferredImage',
    'EvaluateAtThisSize',
    'InitValidMap',
    'LoadAnyImage',
    'LoadAnyLabels',
    'LoadImage',
    'LoadSegLabels',
    'MultiBranch',
    'PackSemiInputs',
    'PadAllMaps',
    'RandomRelativeResize',
    'RandomScaleCrop',
    'decode_image',
    'read_labels',
    'resize_labels',
    'resize_window',
    'to_class_indices',
]
