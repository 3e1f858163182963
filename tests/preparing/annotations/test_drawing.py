"""Regions as masks, compared with pixel centres, which matplotlib tests, and with masks written by hand."""

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from PIL import Image, ImageOps

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import AnnotatedImage, Region, drawing
from mmseg_semi.preparing.annotations.drawing import draw_regions, fill_rings, turn

INDICES = dict(leaf=1, stone=2)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def draw(*regions: Region, size: tuple[int, int] = (8, 6), unmarked: int = 0):
    return draw_regions(AnnotatedImage('a.png', None, regions=[*regions]), size, INDICES, unmarked)


def test_a_rectangle_has_the_pixels_between_its_corners():
    mask, counts = draw(Region('leaf', (box(0, 0, 4, 3),)))
    expected = np.zeros((6, 8), np.uint8)
    expected[:3, :4] = 1
    assert np.array_equal(mask, expected) and not +counts


@pytest.mark.parametrize('corners', [3, 5, 12])
def test_polygons_do_not_grow(corners):
    """Against pixel centres: as many pixels too many as too few, and both few."""
    rng = np.random.default_rng(corners)
    columns, rows = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    centres = np.stack([columns.ravel(), rows.ravel()], 1)
    more = fewer = inside = 0
    for _ in range(100):
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(4, 25, corners)[:, None]
        ring = rng.uniform(15, 45, 2) + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        true = Polygon(ring).contains_points(centres).reshape(60, 60)
        filled = fill_rings([ring], (0, 0, 60, 60))
        more, fewer = more + (filled & ~true).sum(), fewer + (true & ~filled).sum()
        inside += true.sum()
    assert max(more, fewer) < 0.02 * inside
    assert abs(int(more) - int(fewer)) < 0.003 * inside


def test_rings_are_a_union_and_no_holes():
    mask, _ = draw(Region('leaf', (box(0, 0, 6, 6), box(2, 2, 4, 4), box(7, 0, 8, 1))))
    assert mask[2:4, 2:4].all() and mask[0, 7] == 1 and (mask == 1).sum() == 37


def test_the_larger_order_is_on_top_then_the_later_region():
    first, second = Region('leaf', (box(0, 0, 4, 4),)), Region('stone', (box(2, 2, 6, 6),))
    assert draw(first, second)[0][3, 3] == 2 and draw(second, first)[0][3, 3] == 1
    raised = Region('leaf', (box(0, 0, 4, 4),), order=0.5)
    assert draw(raised, second)[0][3, 3] == 1


def test_ignored_regions_and_unmarked_pixels():
    mask, _ = draw(Region(None, (box(0, 0, 1, 1),)), Region('leaf', (box(1, 0, 2, 1),)), unmarked=7)
    assert mask[0, :3].tolist() == [255, 1, 7]


def test_what_reaches_beyond_the_image_is_clipped_and_counted():
    mask, counts = draw(
        Region('leaf', (box(-3, -2, 2, 2),)),
        Region('stone', (box(6, 4, 1000, 700),)),
        Region('leaf', (box(-9, 0, -1, 3),)),
        Region('leaf', (box(8, 0, 9, 3),)),
        Region('leaf', (box(0, 5, 0.3, 5.3),)),
        Region('stone', (box(3, 3, 4, 4), np.array([(0, 0), (5, 5)]))),
        Region('stone', (np.array([(0, 0), (5, 5)]),)),
    )
    expected = np.zeros((6, 8), np.uint8)
    expected[:2, :2], expected[4:, 6:], expected[3, 3] = 1, 2, 2
    assert np.array_equal(mask, expected)
    assert dict(+counts) == {
        drawing.CLIPPED: 2,
        drawing.OUTSIDE: 2,
        drawing.EMPTY: 1,
        drawing.TOO_SHORT: 2,
    }


def test_images_of_whose_regions_nothing_is_left_are_counted():
    line, far = np.array([(0, 0), (5, 5)]), box(20, 20, 30, 30)
    assert draw(Region('leaf', (line,)), Region('leaf', (far,)))[1][drawing.NOTHING] == 1
    assert not draw(Region('leaf', (line,)), Region('leaf', (box(0, 0, 1, 1),)))[1][drawing.NOTHING]
    assert not draw()[1][drawing.NOTHING]


def test_masks_with_an_offset_are_clipped_alike():
    part = np.ones((4, 4), bool)
    part[0, 3] = False
    mask, counts = draw(
        Region('leaf', mask=part, offset=(-2, 1)), Region('stone', mask=lambda: part, offset=(6, 4))
    )
    expected = np.zeros((6, 8), np.uint8)
    expected[1:5, :2], expected[1, 1] = 1, 0
    expected[4:, 6:] = 2
    assert np.array_equal(mask, expected) and counts[drawing.CLIPPED] == 2


def test_mistakes():
    with pytest.raises(SetupError, match="a.png has a region of the class 'moss', which the list"):
        draw(Region('moss', (box(0, 0, 1, 1),)))
    with pytest.raises(SetupError, match='are no pixels of an image of 8 x 6'):
        draw(Region('leaf', (box(0, 0, 1e9, 1),)))
    with pytest.raises(SetupError, match='many.json has 255 classes, but masks of 8 bits hold 254'):
        drawing.check_class_count([str(i) for i in range(255)], 'many.json')


def test_without_pycocotools_the_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'pycocotools', None)
    with pytest.raises(SetupError, match=r"pip install 'mmseg_semi\[annotations\]'"):
        draw(Region('leaf', (box(0, 0, 4, 3),)))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_masks_turn_as_pillow_turns_images(orientation):
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(mask)
    image.getexif()[0x0112] = orientation
    assert np.array_equal(turn(mask, orientation), np.asarray(ImageOps.exif_transpose(image)))


def test_lines_and_circles_have_their_area():
    rings = drawing.line_rings(np.array([(10.0, 10.0), (50.0, 10.0), (50.0, 40.0)]), 4)
    area = fill_rings(rings, (0, 0, 60, 60)).sum()
    # two rectangles that share a quarter of the square at the corner, and a quarter of a circle
    assert abs(area - (160 + 120 - 4 + np.pi)) < 4
    for radius in (1.5, 6, 25):
        filled = fill_rings([drawing.circle_ring(np.array([30.0, 30.0]), radius)], (0, 0, 60, 60))
        assert abs(filled.sum() - np.pi * radius**2) < 0.03 * np.pi * radius**2 + 2
