"""Colour of the strong view, which the weak view of an image does not have.

=================  ===============================================================================
``transforms``     what a config names: draws the operations per image, and applies them or leaves
                   them to the device
``images``         the operations on one image (NumPy), for ``transforms``
``bands``          the same operations on an image of any number of bands
``batches``        the same operations on a batch (PyTorch), for the data preprocessor
``intensity``      a random number of operations out of a larger pool (AugSeg), on one image
``after_mixing``   another jitter and blur, of mixed images (ClassMix, MLLC), for the mixing
``operations``     what ``transforms``, ``images`` and ``batches`` share: names, amounts, constants
``hsv``            hue, saturation and value of tensors, for ``batches`` and ``after_mixing``
=================  ===============================================================================
"""

from mmseg_semi.data.colour.bands import change_bands
from mmseg_semi.data.colour.batches import apply_operations
from mmseg_semi.data.colour.intensity import RandomIntensity
from mmseg_semi.data.colour.transforms import (
    ColourTransform,
    DeferColour,
    PILColorJitter,
    PILGaussianBlur,
    PILGrayscale,
)

__all__ = [
    'ColourTransform',
    'DeferColour',
    'PILColorJitter',
    'PILGaussianBlur',
    'PILGrayscale',
    'RandomIntensity',
    'apply_operations',
    'change_bands',
]
