"""What the colour operations on one image and on a batch share: names, amounts, constants.

Colour jitter, greyscale and Gaussian blur follow torchvision and Pillow, which the authors' code
uses.
"""

from __future__ import annotations

import math

import numpy as np

Operation = tuple[str, float]
"""Name of an operation and its amount, e.g. ('brightness', 1.2)."""

JITTER = ('brightness', 'contrast', 'saturation', 'hue')
"""The four operations of colour jitter, in the order in which their amounts are drawn."""

LUMA = (0.114, 0.587, 0.299)
"""Weights of blue, green and red in the luma: ITU-R 601-2."""


def hue_shift(turns: float) -> float:
    """Round a hue shift as torchvision does: a turn is 255 of 256 levels, fractions are cut off.

    Args:
        turns: In [-0.5, 0.5].

    Returns:
        float: Shift in turns, a multiple of 1 / 256.

    Example:
        >>> hue_shift(0.25), hue_shift(-0.25)
        (0.24609375, -0.24609375)
    """
    return int(turns * 255) / 256


def box_kernel(radius: float) -> np.ndarray:
    """One of the three box filters that replace a Gaussian (Gwosdek et al., SSVM 2011).

    Its weights are equal but for a smaller one at either end.

    Args:
        radius: Standard deviation in pixels of all three filters together.

    Returns:
        np.ndarray: Odd number of weights that sum to 1, float64.

    Example:
        >>> box_kernel(1.0).round(3).tolist()
        [0.167, 0.667, 0.167]
    """
    variance = radius * radius / 3
    half = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    edge = (2 * half + 1) * (half * (half + 1) - 3 * variance) / (6 * (variance - (half + 1) ** 2))
    kernel = np.ones(2 * half + 3)
    kernel[[0, -1]] = edge
    return kernel / kernel.sum()
