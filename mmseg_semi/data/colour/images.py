"""Colour operations on one image (NumPy, OpenCV), as the workers of a data loader apply them.

OpenCV computes them, three to ten times faster than Pillow. The results differ from Pillow's by

==================================  ===========================================================
brightness                          nothing
contrast, saturation, greyscale     one level of 255 at most
blur                                three levels at most
hue                                 0.1 levels on average on photographs, up to 12 in strong colours
==================================  ===========================================================

The hue differs because Pillow's HSV has 8 bits: ours is within half a level of the definition,
Pillow's within 14.
"""

import cv2
import numpy as np

from mmseg_semi.data.colour.operations import LUMA, box_kernel, hue_shift

_STRIP = 32  # image rows whose float values stay in the processor's cache


def adjust_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the levels towards black (factor < 1) or away from it.

    Args:
        img: (H, W, 3) uint8 BGR, as in all functions here.
        factor: 0 or more; 1 changes nothing.

    Example:
        >>> adjust_brightness(np.uint8([[[10, 100, 200]]]), 1.5).tolist()
        [[[15, 150, 255]]]
    """
    return cv2.LUT(img, _blend(0, factor))


def adjust_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the levels towards the mean of the image's luma or away from it.

    Args:
        img: (H, W, 3) uint8 BGR.
        factor: 0 or more; 1 changes nothing.

    Example:
        >>> adjust_contrast(np.uint8([[[0, 0, 0], [200, 200, 200]]]), 0.5)[..., 0].tolist()
        [[50, 150]]
    """
    mean = int(cv2.mean(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY))[0] + 0.5)
    return cv2.LUT(img, _blend(mean, factor))


def _blend(base: int, factor: float) -> np.ndarray:
    """Table of 256 levels; fractions are cut off, as in Pillow."""
    levels = np.arange(256, dtype=np.float32)
    return np.clip(base + np.float32(factor) * (levels - base), 0, 255).astype(np.uint8)


def adjust_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale every pixel towards its luma or away from it.

    Args:
        img: (H, W, 3) uint8 BGR.
        factor: 0 or more; 1 changes nothing, 0 gives grey.

    Example:
        >>> adjust_saturation(np.uint8([[[0, 0, 200]]]), 0.5).tolist()
        [[[29, 29, 129]]]
    """
    luma = np.tile(np.float32(LUMA), (3, 1))
    matrix = (1 - factor) * luma + factor * np.eye(3, dtype=np.float32)
    cut_off = np.full((3, 1), -0.5, np.float32)  # Pillow cuts fractions off, OpenCV rounds
    return cv2.transform(img, np.hstack([matrix, cut_off]))


def adjust_hue(img: np.ndarray, turns: float) -> np.ndarray:
    """Turn the hue of every pixel.

    Args:
        img: (H, W, 3) uint8 BGR.
        turns: In [-0.5, 0.5]; rounded by :func:`.hue_shift`.

    Example:
        >>> adjust_hue(np.uint8([[[0, 0, 255]]]), 0.5).tolist()
        [[[249, 255, 0]]]
    """
    shift = np.float32(hue_shift(turns) % 1 * 360)
    out = np.empty_like(img)
    for top in range(0, len(img), _STRIP):
        hsv = cv2.cvtColor(img[top : top + _STRIP].astype(np.float32), cv2.COLOR_BGR2HSV)
        hue = hsv[..., 0]
        hue += shift
        hue[hue >= 360] -= 360
        cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), out[top : top + _STRIP])
    return out


def to_grayscale(img: np.ndarray, amount: float = 1.0) -> np.ndarray:
    """Replace the colours by their luma, in all three channels.

    Args:
        img: (H, W, 3) uint8 BGR.
        amount: Without effect; all operations have an amount.

    Example:
        >>> to_grayscale(np.uint8([[[0, 0, 255]]])).tolist()
        [[[76, 76, 76]]]
    """
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def gaussian_blur(img: np.ndarray, radius: float) -> np.ndarray:
    """Blur as Pillow's Gaussian filter does: three box filters, edges repeated.

    Args:
        img: (H, W, 3) uint8 BGR.
        radius: Standard deviation in pixels.

    Example:
        >>> img = np.zeros((1, 5, 3), np.uint8)
        >>> img[0, 2] = 240
        >>> gaussian_blur(img, 1.0)[0, :, 0].tolist()
        [15, 57, 98, 57, 15]
    """
    kernel = box_kernel(radius)
    for _ in range(3):
        img = cv2.sepFilter2D(img, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return img


OPERATIONS = dict(
    brightness=adjust_brightness,
    contrast=adjust_contrast,
    saturation=adjust_saturation,
    hue=adjust_hue,
    grayscale=to_grayscale,
    blur=gaussian_blur,
)
"""Name of an operation -> function of (image, amount)."""
