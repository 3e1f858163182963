"""Shapes of annotation tools: turned rectangles, ellipses, runs, polygons whose corners are pixels."""

from collections import Counter

import cv2
import numpy as np
import pytest

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.drawing import CLIPPED, OUTSIDE, fill_rings
from mmseg_semi.preparing.annotations.pixel_polygons import (
    fill_as_opencv,
    fill_as_pillow,
    pixel_region,
)
from mmseg_semi.preparing.annotations.shapes import (
    LINES,
    ellipse_ring,
    line_region,
    rectangle_ring,
    runs_mask,
)


def turn(point, degrees, about):
    """A point turned clockwise, as complex numbers do it where y points down."""
    turned = (complex(*point) - complex(*about)) * np.exp(1j * np.radians(degrees)) + complex(
        *about
    )
    return turned.real, turned.imag


@pytest.mark.parametrize('about', [None, (3.0, 4.0)])
@pytest.mark.parametrize('degrees', [0, 17.5, 90, -130])
def test_a_rectangle_is_turned_clockwise(degrees, about):
    corners = [(3, 4), (11, 4), (11, 9), (3, 9)]
    expected = [turn(corner, degrees, about or (7, 6.5)) for corner in corners]
    ring = rectangle_ring(3, 4, 11, 9, degrees, about)
    assert np.allclose(ring, expected)


def test_an_ellipse_lies_on_its_curve():
    ring = ellipse_ring(50, 40, 300, 20, 25)
    points = np.array([turn(point, -25, (50, 40)) for point in ring]) - (50, 40)
    assert np.allclose((points[:, 0] / 300) ** 2 + (points[:, 1] / 20) ** 2, 1)
    middles = (points + np.roll(points, 1, 0)) / 2 / (300, 20)
    assert (1 - np.hypot(*middles.T) < 0.03 / 300).all()


def test_runs_fill_a_mask_by_rows():
    mask = runs_mask([2, 5, 1], 4, 2, 'x')()
    assert mask.tolist() == [[False, False, True, True], [True, True, True, False]]
    for counts, width, height in (([2, 5], 4, 2), ([2, -5, 11], 4, 2), ([], 0, 3)):
        with pytest.raises(SetupError, match=f'x has a mask of {width} x {height} pixels'):
            runs_mask(counts, width, height, 'x')


def test_points_become_circles_and_lines_bars():
    counts = Counter()
    points = np.array([(4.0, 4.0), (12.0, 4.0)])
    assert line_region('a', points, 0, counts) is None and counts[LINES] == 1
    bar = fill_rings(line_region('a', points, 4, counts).rings, (0, 0, 16, 8))
    assert np.array_equal(np.argwhere(bar).min(0), (2, 4)) and bar.sum() == 4 * 8
    dots = fill_rings(line_region('a', points, 4, counts, joined=False).rings, (0, 0, 16, 8))
    assert dots[4, 4] and dots[4, 11] and not dots[:, 7:9].any()


@pytest.mark.parametrize('fill', [fill_as_pillow, fill_as_opencv])
def test_the_outline_belongs_to_a_polygon_of_pixels(fill):
    square = np.int32([(1, 1), (4, 1), (4, 3), (1, 3)])
    mask = fill(square, [], 6, 5)
    assert mask.sum() == 12 and mask[1:4, 1:5].all()


@pytest.mark.parametrize('fill', [fill_as_pillow, fill_as_opencv])
def test_a_region_is_what_is_drawn_into_the_whole_image(fill):
    rng = np.random.default_rng(0)
    for _ in range(50):
        ring = rng.integers(-20, 60, (rng.integers(3, 8), 2))
        region = pixel_region('a', ring, [], (40, 30), fill, Counter())
        whole = fill(np.int32(ring), [], 40, 30)
        mask = np.zeros((30, 40), bool)
        if region is not None:
            (left, top), part = region.offset, region.mask()
            mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        assert np.array_equal(mask, whole)


def test_holes_are_drawn_as_opencv_draws_them():
    ring = np.int32([(0, 0), (30, 2), (28, 25), (3, 20)])
    hole = np.int32([(8, 6), (20, 8), (15, 16)])
    expected = cv2.fillPoly(np.zeros((30, 40), np.uint8), [ring], 1)
    cv2.fillPoly(expected, [hole], 0)
    region = pixel_region('a', ring, [hole], (40, 30), fill_as_opencv, Counter())
    assert np.array_equal(region.mask(), expected[:26, :31].astype(bool))


def test_regions_beyond_the_border_are_counted():
    counts = Counter()
    far = np.array([(1e12, 0), (2e12, 0), (1e12, 9)])
    assert pixel_region('a', far, [], (40, 30), fill_as_pillow, counts) is None
    pixel_region('a', np.array([(-5, 0), (9, 0), (9, 9)]), [], (40, 30), fill_as_pillow, counts)
    assert counts == {OUTSIDE: 1, CLIPPED: 1}
