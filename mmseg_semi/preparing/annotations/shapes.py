"""Shapes of annotation tools as polygons and masks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.drawing import circle_ring, line_rings
from mmseg_semi.preparing.annotations.export import Region

LINES = 'lines and points, which have no area, left out (--line-width makes areas of lines)'


def rectangle_ring(
    left: float,
    top: float,
    right: float,
    bottom: float,
    degrees: float = 0.0,
    about: tuple[float, float] | None = None,
) -> np.ndarray:
    """The four corners of a rectangle, (4, 2).

    Args:
        left: x of two corners before the turn, in pixels; the others alike.
        degrees: Turn, clockwise as the image is seen.
        about: (x, y) that stays where it is; None for the centre.

    Example:
        >>> rectangle_ring(0, 0, 4, 2, 90).round().tolist()
        [[3.0, -1.0], [3.0, 3.0], [1.0, 3.0], [1.0, -1.0]]
    """
    ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
    center = np.array(about if about is not None else ((left + right) / 2, (top + bottom) / 2))
    return _turned(ring - center, degrees) + center


def ellipse_ring(
    x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0
) -> np.ndarray:
    """An ellipse as a polygon that is nowhere farther than a fiftieth of a pixel from it.

    Args:
        x: Centre, in pixels; ``y`` alike.
        radius_x: Half of the width before the turn; ``radius_y`` half of the height.
        degrees: Turn about the centre, clockwise as the image is seen.

    Example:
        >>> ring = ellipse_ring(5, 5, 4, 2, 90)
        >>> ring.min(0).round(1).tolist(), ring.max(0).round(1).tolist()
        ([3.0, 1.0], [7.0, 9.0])
    """
    largest = min(max(abs(radius_x), abs(radius_y), 1.0), 1e6)
    # corners on the ellipse: an edge lies r (1 - cos(pi / n)) within it
    corners = 4 * math.ceil(math.pi / math.acos(1 - 0.02 / largest) / 4)
    angles = np.arange(corners) * (2 * math.pi / corners)
    ring = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], 1)
    return _turned(ring, degrees) + (x, y)


def runs_mask(
    counts: Sequence[int], width: int, height: int, where: str
) -> Callable[[], np.ndarray]:
    """A mask from lengths of runs along its rows, the first one of False.

    Args:
        counts: Lengths in pixels.
        width: Of the mask; ``height`` alike.
        where: File and image, for the error.

    Returns:
        A function that gives the mask, (height, width) bool.

    Raises:
        SetupError: If the runs do not fill the mask.

    Example:
        >>> runs_mask([1, 2, 1], 2, 2, 'a.xml')().tolist()
        [[False, True], [True, False]]
    """
    lengths = np.array(counts, np.int64)
    total = int(lengths.sum())
    if width < 1 or height < 1 or total != width * height or (lengths < 0).any():
        raise SetupError(
            f'{where} has a mask of {width} x {height} pixels, but its runs have {total}; export it again'
        )
    return partial(_repeat, lengths, width, height)


def _repeat(lengths: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)


def line_region(
    label: str | None,
    points: np.ndarray,
    line_width: float,
    counts: Counter,
    order: float = 0.0,
    joined: bool = True,
) -> Region | None:
    """A line or points as an area, or None, counted, if they are to have none.

    Args:
        label: The class.
        points: (n, 2) x, y.
        line_width: In pixels; 0 leaves lines and points out.
        counts: Counts what is left out.
        order: Of the region.
        joined: False for points without a line through them: they become circles.

    Example:
        >>> counts = Counter()
        >>> line_region('wire', np.zeros((2, 2)), 0, counts), counts[LINES]
        (None, 1)
    """
    if not line_width:
        counts[LINES] += 1
        return None
    if joined and len(points) > 1:
        return Region(label, line_rings(points, line_width), order=order)
    return Region(label, tuple(circle_ring(p, line_width / 2) for p in points), order=order)


def _turned(ring: np.ndarray, degrees: float) -> np.ndarray:
    """Turn about (0, 0), clockwise where y points down."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return ring @ np.array([[cos, sin], [-sin, cos]])
