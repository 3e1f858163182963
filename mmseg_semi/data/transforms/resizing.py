"""Resizing of images and label maps as pure functions that compute only the window of a crop.

Pillow resamples images, as in the authors' code: its filters are antialiased when they shrink.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image

from mmseg_semi.data.decoding.images import DeferredImage


def resize_window(
    img: np.ndarray | DeferredImage,
    size: tuple[int, int],
    window: tuple[int, int, int, int],
    interpolation: str = 'bilinear',
) -> np.ndarray:
    """Compute a window of the resized image from the pixels that the window needs.

    Args:
        img: (H, W, 3) uint8, (H, W, channels) float32, or a :class:`.DeferredImage`, of which only the
            needed part is decoded.
        size: (width, height) of the complete resized image.
        window: (left, top, right, bottom) in the resized image.
        interpolation: 'bilinear' or 'bicubic' (Pillow's, antialiased), or 'bilinear_plain' (four
            pixels at any scale).

    Returns:
        np.ndarray: (bottom - top, right - left, channels), the type of ``img``. It differs from the
        window of the complete resized image by one level at most (rounding).

    Example:
        >>> img = np.uint8([[[0] * 3, [100] * 3], [[0] * 3, [100] * 3]])
        >>> resize_window(img, (4, 2), (1, 0, 3, 1))[..., 0].tolist()
        [[25, 75]]
    """
    left, top, right, bottom = window
    height, width = img.shape[:2]
    # the window in the image, and the pixels that the filter reads around it
    (x0, x1), columns = _source(left, right, width, size[0])
    (y0, y1), rows = _source(top, bottom, height, size[1])
    if isinstance(img, DeferredImage):
        img = img.corner(rows.stop, columns.stop)
    if size == (width, height):
        return img[top:bottom, left:right]
    shrinks = size[0] < width or size[1] < height
    pixels = (right - left) * (bottom - top)
    # Where nothing shrinks, OpenCV interpolates as Pillow does. It is five times faster, but it has
    # to resize the complete image.
    if interpolation == 'bilinear_plain' or (
        interpolation == 'bilinear' and not shrinks and size[0] * size[1] < 4 * pixels
    ):
        missing = height - img.shape[0], width - img.shape[1]  # not decoded: outside of the window
        if any(missing):
            img = cv2.copyMakeBorder(img, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT)
        img = cv2.resize(img, size, interpolation=cv2.INTER_LINEAR)
        img = img[..., None] if img.ndim == 2 else img  # OpenCV drops an axis of one channel
        return np.ascontiguousarray(img[top:bottom, left:right])
    method = Image.Resampling.BICUBIC if interpolation == 'bicubic' else Image.Resampling.BILINEAR
    source = np.ascontiguousarray(img[rows, columns])
    box = (x0 - columns.start, y0 - rows.start, x1 - columns.start, y1 - rows.start)
    shape = right - left, bottom - top
    if img.dtype == np.uint8 and img.shape[2] == 3:
        # a copy: torch warns about Pillow's read-only buffers
        return np.array(Image.fromarray(source).resize(shape, method, box=box))
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(source, 2, 0)]
    return np.stack([plane.resize(shape, method, box=box) for plane in planes], axis=2)


def _source(low: int, high: int, length: int, resized: int) -> tuple[tuple[float, float], slice]:
    """Where [low, high) of a resized axis lies in the image, and the pixels the filter reads."""
    scale = length / resized
    reach = math.ceil(2 * max(scale, 1.0)) + 1  # of the bicubic filter, the wider one
    start, stop = low * scale, min(high * scale, length)
    return (start, stop), slice(max(int(start) - reach, 0), min(math.ceil(stop) + reach, length))


def resize_labels(
    labels: np.ndarray, size: tuple[int, int], window: tuple[int, int, int, int]
) -> np.ndarray:
    """Compute a window of a resized label map: the value of the nearest pixel, in exact arithmetic.

    Args:
        labels: (H, W), any type.
        size: (width, height) of the complete resized map.
        window: (left, top, right, bottom) in the resized map.

    Returns:
        np.ndarray: (bottom - top, right - left), the type of ``labels``.

    Example:
        >>> resize_labels(np.uint8([[1, 2]]), (6, 1), (1, 0, 5, 1)).tolist()
        [[1, 1, 2, 2]]
    """
    left, top, right, bottom = window
    if not labels.any():  # the validity of an image without padding
        return np.zeros((bottom - top, right - left), labels.dtype)
    height, width = labels.shape
    # the centre of pixel x lies at (x + 1/2) * width / size[0]
    columns = (2 * np.arange(left, right) + 1) * width // (2 * size[0])
    rows = (2 * np.arange(top, bottom) + 1) * height // (2 * size[1])
    return labels[rows][:, columns]
