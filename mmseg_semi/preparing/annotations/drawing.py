"""Regions of an image as one mask of class indices."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Region

MAX_CLASSES = 254
"""Classes of a mask of 8 bits: 255 is the ignored label, and 254 stays free."""

CLIPPED = 'regions beyond the border of their image, clipped'
OUTSIDE = 'regions outside of their image, left out'
TOO_SHORT = 'polygons of fewer than three points, left out'
NOTHING = 'annotated images of whose regions no pixel is left: nothing is marked in their masks'
EMPTY = 'regions without a pixel, left out'

_FARTHEST = 1e6  # pixels; farther coordinates are no pixels
_TOLERANCE = 0.5  # tools write the border with rounding errors
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def require_pycocotools(what: str):
    """The module ``pycocotools.mask``.

    Args:
        what: What needs it, for the error.

    Raises:
        SetupError: If it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise SetupError(
            f"{what} needs pycocotools, which cannot be imported ({error}); install it: pip install 'mmseg_semi[annotations]'"
        ) from error
    return mask


def check_class_count(classes: Sequence[str], source: object) -> None:
    """Refuse more classes than a mask of 8 bits holds.

    Raises:
        SetupError: If there are more than :data:`MAX_CLASSES`.
    """
    if len(classes) > MAX_CLASSES:
        raise SetupError(
            f'{source} has {len(classes)} classes, but masks of 8 bits hold {MAX_CLASSES}; choose or merge classes by --classes'
        )


def draw_regions(
    image: AnnotatedImage, size: tuple[int, int], indices: Mapping[str, int], unmarked: int
) -> tuple[np.ndarray, Counter]:
    """Draw the regions of an image, those of the smallest order first.

    Args:
        image: An image with regions.
        size: (width, height) of the mask, the frame of the regions' coordinates.
        indices: Class -> its index, 0 to 253, or 255 for a class whose pixels are ignored.
        unmarked: Index of pixels outside of all regions.

    Returns:
        The mask, (height, width) uint8, and what was counted: text -> number of regions.

    Raises:
        SetupError: If a region's class has no index, or its coordinates are no pixels.

    Example:
        >>> ring = np.array([(0, 0), (2, 0), (2, 1), (0, 1)], float)
        >>> image = AnnotatedImage('a.png', None, regions=[Region('road', (ring,))])
        >>> draw_regions(image, (3, 2), dict(road=1), 0)[0].tolist()
        [[1, 1, 0], [0, 0, 0]]
    """
    width, height = size
    mask = np.full((height, width), unmarked, np.uint8)
    counts: Counter = Counter()
    drawn = False
    for region in sorted(image.regions, key=lambda region: region.order):
        if region.label is not None and region.label not in indices:
            raise SetupError(
                f"{image.name} has a region of the class '{region.label}', which the list of classes lacks ({', '.join(indices)}); add it "
                'to the list'
            )
        index = IGNORE if region.label is None else indices[region.label]
        drawn |= _draw(mask, region, index, image.name, counts)
    counts[NOTHING] += bool(image.regions) and not drawn
    return mask, counts


def _draw(mask: np.ndarray, region: Region, index: int, name: str, counts: Counter) -> bool:
    """Draw one region into a mask, and count what does not go into it; whether a pixel was drawn."""
    height, width = mask.shape
    pixels = region.mask() if callable(region.mask) else region.mask
    rings: list[np.ndarray] = []
    if pixels is not None:
        low, high = np.array(region.offset), np.array(region.offset) + pixels.shape[1::-1]
    else:
        rings = [ring for ring in region.rings if len(ring) >= 3]
        counts[TOO_SHORT] += len(region.rings) - len(rings)
        if not rings:
            return False
        corners = np.concatenate(rings)
        low, high = corners.min(0), corners.max(0)
        if not (np.abs(corners) < _FARTHEST).all():
            raise SetupError(
                f'{name} has a polygon from {low.tolist()} to {high.tolist()}, which are no pixels '
                f'of an image of {width} x {height}; correct its coordinates'
            )
    left, top = np.maximum(np.floor(low), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(high), (width, height)).astype(int).tolist()
    if left >= right or top >= bottom:
        outside = (low >= (width, height)).any() or (high <= 0).any()
        counts[OUTSIDE if outside else EMPTY] += 1
        return False
    if pixels is not None:
        x, y = region.offset
        part = pixels[top - y : bottom - y, left - x : right - x].astype(bool)
    else:
        part = fill_rings(rings, (left, top, right, bottom))
    if not part.any():
        counts[EMPTY] += 1
        return False
    beyond = (low < -_TOLERANCE).any() or (high > np.add((width, height), _TOLERANCE)).any()
    counts[CLIPPED] += int(beyond)
    mask[top:bottom, left:right][part] = index
    return True


def fill_rings(rings: Sequence[np.ndarray], box: tuple[int, int, int, int]) -> np.ndarray:
    """The pixels of a box whose centres lie in any of the rings.

    pycocotools fills the rectangle from (0, 0) to (4, 3) with its 12 pixels, and as many pixels of other polygons too many as too few.
    Pillow and OpenCV paint the outline, too: 20 pixels of this rectangle, so that every shape grows by half a pixel or more.

    Args:
        rings: (n, 2) x, y of at least three corners each, in pixels of the image; their union is filled.
        box: Left, top, right, bottom in pixels of the image, right and bottom not included.

    Returns:
        (height, width) bool of the box.

    Raises:
        SetupError: If pycocotools is not installed.

    Example:
        >>> fill_rings([np.array([(0, 0), (4, 0), (4, 3), (0, 3)], float)], (0, 0, 8, 8)).sum()
        np.int64(12)
    """
    coco = require_pycocotools('drawing polygons')
    left, top, right, bottom = box
    flat = [(ring - (left, top)).ravel().tolist() for ring in rings]
    encoded = coco.frPyObjects(flat, bottom - top, right - left)
    return coco.decode(coco.merge(encoded)).astype(bool)


def turn(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a mask of stored pixels as an EXIF orientation turns its image.

    Example:
        >>> turn(np.uint8([[1, 2, 3]]), 6).tolist()
        [[1], [2], [3]]
    """
    if orientation not in _TRANSPOSE:
        return mask
    return np.asarray(Image.fromarray(mask).transpose(_TRANSPOSE[orientation]))


def line_rings(points: np.ndarray, width: float) -> tuple[np.ndarray, ...]:
    """A line of some width as rings: a rectangle for each piece, and a circle at each point between two.

    Args:
        points: (n, 2) x, y.
        width: In pixels.

    Example:
        >>> line_rings(np.array([(0.0, 2.0), (4.0, 2.0)]), 2)[0].tolist()
        [[0.0, 1.0], [4.0, 1.0], [4.0, 3.0], [0.0, 3.0]]
    """
    rings = []
    for start, end in zip(points[:-1], points[1:], strict=True):
        length = float(np.hypot(*(end - start)))
        if length:
            across = np.array([end[1] - start[1], start[0] - end[0]]) / length * width / 2
            rings.append(np.stack([start + across, end + across, end - across, start - across]))
    rings += [circle_ring(point, width / 2) for point in points[1:-1]]
    return tuple(rings)


def circle_ring(center: np.ndarray, radius: float) -> np.ndarray:
    """A circle as a ring whose corners and edges are at most a tenth of a pixel from it."""
    corners = max(12, math.ceil(math.pi / math.acos(max(0.0, 1 - 0.2 / max(radius, 0.4)))))
    angles = np.arange(corners) * (2 * math.pi / corners)
    # the mean of the circles around and within the corners
    outer = 2 * radius / (1 + math.cos(math.pi / corners))
    return center + outer * np.stack([np.cos(angles), np.sin(angles)], 1)
