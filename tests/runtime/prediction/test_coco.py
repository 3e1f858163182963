"""Predictions as COCO annotations: pycocotools and the reader of exports give the prediction back."""

import json

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from scipy.ndimage import binary_fill_holes

from mmseg_semi.preparing.annotations import coco as reader
from mmseg_semi.preparing.annotations.drawing import draw_regions
from mmseg_semi.runtime.prediction import coco
from mmseg_semi.runtime.prediction.coco import CocoFile, outlines, polygon_area, polygons

mask_api = pytest.importorskip('pycocotools.mask')
NAMES = ('soil', 'crop', 'weed')


def nested() -> np.ndarray:
    """Classes within classes, single pixels, diagonals, and pixels to ignore within a class and at the border."""
    labels = np.zeros((40, 60), np.uint8)
    labels[4:30, 6:50] = 1
    labels[8:20, 12:30] = 2
    labels[11:14, 15:22] = 0
    labels[12, 17] = 1
    labels[range(30, 38), range(40, 48)] = 2
    labels[22:26, 35:44] = 255
    labels[0:3, 50:] = 255
    return labels


def drawn(content: dict, size) -> np.ndarray:
    """Annotations drawn in their order by pycocotools; 9 where there is none."""
    found = np.full(size, 9, np.uint8)
    for entry in content['annotations']:
        code = entry['segmentation']
        if isinstance(code, list):
            code = mask_api.merge(mask_api.frPyObjects(code, *size))
        found[mask_api.decode(code).astype(bool)] = entry['category_id'] - 1
    return found


def test_exact_outlines_enclose_the_centres_of_their_pixels():
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(np.arange(11) + 0.5, np.arange(9) + 0.5), -1).reshape(-1, 2)
    for _ in range(20):
        region = rng.random((9, 11)) < 0.6
        inside = np.zeros(len(centres), bool)
        for ring in outlines(region):
            inside |= Outline(ring).contains_points(centres)
        inside = inside.reshape(region.shape)
        assert inside[region].all()
        # of the rest only holes: those of either neighbourhood, because outlines may part diagonal pixels or not
        holes = binary_fill_holes(region) | binary_fill_holes(region, np.ones((3, 3)))
        assert not inside[~holes].any()


def test_an_area_by_hand():
    assert polygon_area(np.array([(0, 0), (4, 0), (4, 3)])) == 6


def test_rle_is_exact():
    labels = nested()
    file = CocoFile(NAMES, 'rle')
    file.add('a.png', labels)
    found = drawn(file.content, labels.shape)
    np.testing.assert_array_equal(found, np.where(labels == 255, 9, labels))
    areas = {e['category_id']: e['area'] for e in file.content['annotations']}
    assert areas == {index + 1: int((labels == index).sum()) for index in range(3)}


@pytest.mark.parametrize('block', [2048, 16])
@pytest.mark.parametrize('kind, tolerance', [('polygons', 0.0), ('polygons', 0.5), ('rle', 0.0)])
def test_the_reader_of_exports_gives_the_prediction_back(
    tmp_path, monkeypatch, kind, tolerance, block
):
    monkeypatch.setattr(coco, 'BLOCK', block)
    labels = nested()
    (tmp_path / 'images/sub').mkdir(parents=True)
    Image.fromarray(np.zeros((*labels.shape, 3), np.uint8)).save(tmp_path / 'images/sub/a.png')
    file = CocoFile(NAMES, kind, tolerance)
    file.add('sub/a.png', labels)
    file.write(tmp_path / 'coco.json')
    assert reader.matches(tmp_path / 'coco.json')
    export = reader.read(tmp_path / 'coco.json', tmp_path / 'images')
    assert export.classes == list(NAMES)
    (image,) = export.images
    assert image.path == tmp_path / 'images/sub/a.png' and image.size == (60, 40)
    mask, _ = draw_regions(image, (60, 40), {name: i for i, name in enumerate(NAMES)}, 255)
    different = (mask != labels).mean()
    # without simplification only corners of outlines may differ, by the rule of the drawing
    limit = {('rle', 0.0): 0.0, ('polygons', 0.0): 0.004, ('polygons', 0.5): 0.04}[kind, tolerance]
    assert different <= limit
    # nothing is drawn over the pixels that the prediction leaves open
    inner = mask[23:25, 36:43]
    assert (inner == 255).all()


def test_later_polygons_lie_within_earlier_ones():
    areas = [polygon_area(ring) for _, ring in polygons(nested())]
    assert areas == sorted(areas, reverse=True) and len(areas) > 5


def test_the_file_is_whole_json(tmp_path):
    file = CocoFile(NAMES, 'polygons')
    for name in ('a.png', 'b/c.png'):
        file.add(name, nested())
    file.write(tmp_path / 'coco.json')
    content = json.loads((tmp_path / 'coco.json').read_text())
    assert [c['name'] for c in content['categories']] == list(NAMES)
    assert [i['file_name'] for i in content['images']] == ['a.png', 'b/c.png']
    ids = [a['id'] for a in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))
    for entry in content['annotations']:
        x, y, width, height = entry['bbox']
        ring = np.array(entry['segmentation'][0]).reshape(-1, 2)
        np.testing.assert_allclose([x, y], ring.min(0), atol=0.011)
        np.testing.assert_allclose([x + width, y + height], ring.max(0), atol=0.011)
