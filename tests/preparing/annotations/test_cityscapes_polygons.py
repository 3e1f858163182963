"""Polygons as Cityscapes has them, compared with the mask that its own scripts draw."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS, boxes, drawn, image_of
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import cityscapes
from mmseg_semi.preparing.annotations.drawing import CLIPPED, TOO_SHORT

ROOT = EXPORTS / 'cityscapes'
FILE = ROOT / 'gtFine/train/bonn/bonn_000000_000019_gtFine_polygons.json'
TRAIN_IDS = dict(road=0, pole=5, sky=10, car=13)


@pytest.fixture(scope='module')
def export():
    return cityscapes.read(ROOT, None)


def written(folder: Path, *objects: dict, name: str = 'a_polygons.json') -> Path:
    """A file of polygons of an image of 20 x 10 pixels."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(dict(imgWidth=20, imgHeight=10, objects=objects)))
    return folder


def polygon(label: str, left: int, top: int, right: int, bottom: int, **more) -> dict:
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return dict(label=label, polygon=corners, **more)


def test_the_mask_is_that_of_cityscapes_own_scripts(export):
    theirs = np.asarray(Image.open(next(ROOT.rglob('*_labelTrainIds.png'))))
    ours = drawn(export, '000000_000019.png', unmarked=255)
    ids = np.full(256, 255, np.uint8)
    ids[1 : len(export.classes) + 1] = [TRAIN_IDS[name] for name in export.classes]
    assert np.array_equal(ids[ours], theirs)
    assert set(np.unique(theirs)) == {*TRAIN_IDS.values(), 255}


def test_classes_keep_the_order_of_cityscapes(export):
    assert export.classes == ['road', 'pole', 'sky', 'car'] and export.unmarked[0] == 'ignore'
    assert export.counts[cityscapes.GROUPS] == export.counts[cityscapes.DELETED] == 1
    assert export.counts[cityscapes.SKIPPED] == export.counts[CLIPPED] == 1


@pytest.mark.parametrize('start', ['', 'gtFine', 'gtFine/train/bonn', str(FILE.relative_to(ROOT))])
def test_images_are_found_beside_the_folder_of_polygons(start):
    export = cityscapes.read(ROOT / start, None)
    image = image_of(export, '000000_000019.png')
    assert image.path.name == 'bonn_000000_000019_leftImg8bit.png' and image.size == (40, 30)
    other = image_of(export, '000001_000019_leftImg8bit.png')
    assert not other.annotated and other.path.is_file()
    if start in ('', 'gtFine'):
        assert image.part == other.part == 'train'


def test_other_classes_are_all_kept(tmp_path):
    objects = [
        polygon('yard', 0, 0, 9, 4),
        polygon('static', 0, 6, 3, 9),
        polygon('license plate', 12, 0, 14, 1),
        polygon('unlabeled', 16, 6, 19, 9),
        polygon('yardgroup', 12, 4, 13, 5),
        polygon('newsgroup', 6, 6, 7, 7),
    ]
    export = cityscapes.read(written(tmp_path, *objects), None)
    assert export.classes == ['license plate', 'newsgroup', 'static', 'yard']
    expected = boxes(
        10,
        20,
        (4, 0, 0, 10, 5),
        (3, 0, 6, 4, 10),
        (1, 12, 0, 15, 2),
        (255, 16, 6, 20, 10),
        (4, 12, 4, 14, 6),
        (2, 6, 6, 8, 8),
    )
    assert np.array_equal(drawn(export, 'a'), expected)


def test_the_later_polygon_is_on_top(tmp_path):
    both = polygon('road', 0, 0, 9, 9), polygon('car', 5, 5, 12, 7)
    under = drawn(cityscapes.read(written(tmp_path / 'a', *both), None), 'a')
    over = drawn(cityscapes.read(written(tmp_path / 'b', *both[::-1]), None), 'a')
    assert under[6, 6] == 2 and over[6, 6] == 1 and under[6, 12] == over[6, 12] == 2


def test_an_image_without_a_class_is_unlabelled(tmp_path):
    export = cityscapes.read(written(tmp_path, polygon('ego vehicle', 0, 0, 9, 9)), None)
    assert not export.images[0].annotated and export.counts[cityscapes.NOTHING] == 1


def test_two_points_are_counted_and_left_out(tmp_path):
    short = dict(label='car', polygon=[[1, 1], [5, 5]])
    export = cityscapes.read(written(tmp_path, short, polygon('road', 0, 0, 3, 3)), None)
    assert export.counts[TOO_SHORT] == 1 and not (drawn(export, 'a') == 2).any()


def test_two_images_of_one_name(tmp_path):
    written(tmp_path, polygon('road', 0, 0, 3, 3))
    for suffix in ('png', 'jpg'):
        Image.new('RGB', (20, 10)).save(tmp_path / f'a.{suffix}')
    with pytest.raises(SetupError, match='a.jpg and .*a.png could be it|a.png and .*a.jpg could'):
        cityscapes.read(tmp_path, None)


@pytest.mark.parametrize(
    'text, words',
    [
        ('', 'is empty'),
        (FILE.read_text()[:200], 'is no complete JSON'),
        ('{"imgWidth": 4, "objects": []}', 'has the size 4 x None, expected pixels'),
        ('{"imgWidth": 4, "imgHeight": 4}', "has no 'objects'"),
        ('[]', "has no 'objects'"),
        ('{"imgWidth": 4, "imgHeight": 4, "objects": [{"polygon": []}]}', "has no 'label'"),
        ('{"imgWidth": 4, "imgHeight": 4, "objects": [{"label": "a"}]}', "has no 'polygon'"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, text, words):
    (tmp_path / 'a_polygons.json').write_text(text)
    with pytest.raises(SetupError, match=words):
        cityscapes.read(tmp_path, None)


def test_a_folder_without_polygons(tmp_path):
    shutil.copytree(ROOT / 'leftImg8bit', tmp_path / 'images')
    assert not cityscapes.matches(tmp_path)
    with pytest.raises(SetupError, match='holds no file NAME_polygons.json'):
        cityscapes.read(tmp_path, None)
