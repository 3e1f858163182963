"""Polygons whose corners are pixels and whose outline belongs to them, as Cityscapes and Supervisely draw them.

Other tools mean places: there the corner (2, 3) is the upper left corner of the pixel (2, 3), and the outline has no width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmseg_semi.preparing.annotations.drawing import CLIPPED, OUTSIDE, TOO_SHORT
from mmseg_semi.preparing.annotations.export import Region

Fill = Callable[[np.ndarray, Sequence[np.ndarray], int, int], np.ndarray]


def pixel_region(
    label: str | None,
    ring: np.ndarray,
    holes: Sequence[np.ndarray],
    size: tuple[int, int],
    fill: Fill,
    counts: Counter,
) -> Region | None:
    """The region of a polygon with holes; None, counted, if it has no three corners or lies outside of its image.

    Args:
        label: The class.
        ring: (n, 2) x, y; fractions are cut off.
        holes: Rings that are no part of it.
        size: (width, height) of the image.
        fill: :func:`fill_as_pillow` or :func:`fill_as_opencv`.
        counts: Counts what is clipped and left out.

    Example:
        >>> ring = np.array([(1, 1), (3, 1), (3, 2), (1, 2)])
        >>> region = pixel_region('road', ring, [], (9, 9), fill_as_pillow, Counter())
        >>> region.offset, region.mask().shape, region.mask().all()
        ((1, 1), (2, 3), np.True_)
    """
    if len(ring) < 3:
        counts[TOO_SHORT] += 1
        return None
    corners = np.floor(np.clip(ring, -1e6, 1e6)).astype(np.int32)
    low, high = corners.min(0), corners.max(0)
    first, last = np.maximum(low, 0), np.minimum(high, np.array(size) - 1)
    if (first > last).any():
        counts[OUTSIDE] += 1
        return None
    counts[CLIPPED] += bool((first > low).any() or (last < high).any())
    inner = [np.floor(hole).astype(np.int32) - first for hole in holes if len(hole) >= 3]
    width, height = (last - first + 1).tolist()
    mask = partial(fill, corners - first, inner, width, height)
    return Region(label, mask=mask, offset=(int(first[0]), int(first[1])))


def fill_as_pillow(
    ring: np.ndarray, holes: Sequence[np.ndarray], width: int, height: int
) -> np.ndarray:
    """The pixels of a polygon as Cityscapes' own scripts draw it.

    Args:
        ring: (n, 2) int32.
        holes: Like ``ring``; Cityscapes has none.
        width: Of the result; ``height`` alike.

    Returns:
        (height, width) bool.

    Example:
        >>> fill_as_pillow(np.int32([(0, 0), (2, 0), (2, 1)]), [], 4, 2).astype(int).tolist()
        [[1, 1, 1, 0], [0, 0, 1, 0]]
    """
    image = Image.new('L', (width, height))
    draw = ImageDraw.Draw(image)
    for each, value in [(ring, 1), *((hole, 0) for hole in holes)]:
        draw.polygon([tuple(point) for point in each.tolist()], fill=value)
    return np.asarray(image).astype(bool)


def fill_as_opencv(
    ring: np.ndarray, holes: Sequence[np.ndarray], width: int, height: int
) -> np.ndarray:
    """The pixels of a polygon as Supervisely's SDK draws it: the outlines of holes are no part of it.

    Args:
        ring: (n, 2) int32.
        holes: Like ``ring``.
        width: Of the result; ``height`` alike.

    Returns:
        (height, width) bool.

    Example:
        >>> square = np.int32([(0, 0), (4, 0), (4, 4), (0, 4)])
        >>> fill_as_opencv(square, [square // 4 + 1], 5, 5).sum()  # 25 less 2 x 2
        np.int64(21)
    """
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [ring], 1)
    if holes:
        cv2.fillPoly(mask, list(holes), 0)
    return mask.astype(bool)
