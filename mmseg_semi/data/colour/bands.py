"""The operations of :mod:`.images` on an image of any number of bands, of which three may be colours.

Brightness, contrast and blur stand for light, gain and focus, which every band has: they change all
bands. Saturation, hue and greyscale have a meaning for red, green and blue alone: they change these, and
nothing if there are none.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmseg_semi.data.colour.operations import LUMA, box_kernel, hue_shift

_TOP = 255.0


def change_bands(img: np.ndarray, name: str, amount: float, colour: Sequence[int]) -> np.ndarray:
    """Apply an operation of :data:`.images.OPERATIONS`; levels are not rounded.

    Args:
        img: (H, W, channels) float32 levels of 0 .. 255; not changed.
        name: 'brightness', 'contrast', 'saturation', 'hue', 'grayscale' or 'blur'.
        amount: As in :mod:`.images`.
        colour: Positions of red, green and blue, or empty. Contrast is taken around the mean luma in
            these, around its own mean in any other band.

    Returns:
        np.ndarray: (H, W, channels) float32 in [0, 255].

    Example:
        >>> img = np.float32([[[10, 20, 30, 40]]])
        >>> change_bands(img, 'brightness', 1.5, (2, 1, 0)).tolist()
        [[[15.0, 30.0, 45.0, 60.0]]]
        >>> change_bands(img, 'saturation', 0.0, (2, 1, 0)).round().tolist()
        [[[22.0, 22.0, 22.0, 40.0]]]
    """
    if name == 'brightness':
        return np.clip(img * np.float32(amount), 0, _TOP)
    if name == 'contrast':
        means = img.mean((0, 1), dtype=np.float64)
        if len(colour):
            means[list(colour)] = _luma(img, colour).mean(dtype=np.float64)
        means = np.rint(means).astype(np.float32)
        return np.clip(means + np.float32(amount) * (img - means), 0, _TOP)
    if name == 'blur':
        return _blur(img, amount)
    if not len(colour):
        return img
    changed = img.copy()
    changed[..., list(colour)] = _COLOUR[name](img, amount, colour)
    return changed


def _luma(img: np.ndarray, colour: Sequence[int]) -> np.ndarray:
    return img[..., list(colour)] @ np.float32(LUMA[::-1])


def _saturation(img: np.ndarray, factor: float, colour: Sequence[int]) -> np.ndarray:
    grey = _luma(img, colour)[..., None]
    return np.clip(grey + np.float32(factor) * (img[..., list(colour)] - grey), 0, _TOP)


def _hue(img: np.ndarray, turns: float, colour: Sequence[int]) -> np.ndarray:
    hsv = cv2.cvtColor(np.ascontiguousarray(img[..., list(colour)]), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + np.float32(hue_shift(turns) % 1 * 360)) % 360
    return np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, _TOP)


def _grayscale(img: np.ndarray, _: float, colour: Sequence[int]) -> np.ndarray:
    return _luma(img, colour)[..., None]


_COLOUR = dict(saturation=_saturation, hue=_hue, grayscale=_grayscale)


def _blur(img: np.ndarray, radius: float) -> np.ndarray:
    kernel = box_kernel(radius)
    blurred = img
    for _ in range(3):
        blurred = cv2.sepFilter2D(blurred, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return blurred.reshape(img.shape)  # OpenCV drops an axis of one channel
