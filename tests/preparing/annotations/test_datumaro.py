"""Datumaro's own format, compared with what was put into it and with datumaro's own masks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS, boxes, drawn, image_of
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import datumaro
from mmseg_semi.preparing.annotations.shapes import LINES


@pytest.fixture(scope='module')
def export():
    return datumaro.read(EXPORTS / 'datumaro', None)


def changed(tmp_path: Path, change) -> Path:
    """A copy of the export whose train.json was changed."""
    shutil.copytree(EXPORTS / 'datumaro', tmp_path / 'export')
    file = tmp_path / 'export/annotations/train.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return tmp_path / 'export'


def test_classes_colours_parts_and_images(export):
    assert export.classes == ['leaf', 'stone'] and export.version == '1.0'
    assert export.colours == dict(leaf='#008000', stone='#808080')
    assert [image.name for image in export.images] == [
        'train/a.png',
        'train/b.png',
        'val/c.png',
        'val/d.png',
    ]
    assert [image.part for image in export.images] == ['train', 'train', 'val', 'val']
    assert [image.annotated for image in export.images] == [True, True, True, False]
    assert all(Image.open(image.path).size == image.size == (32, 24) for image in export.images)
    assert export.counts[LINES] == 2 and export.counts[datumaro.NO_AREA] == 1


def test_the_larger_z_order_is_on_top_though_it_stands_first(export):
    expected = boxes(24, 32, (2, 8, 6, 24, 16), (1, 2, 2, 14, 12))
    assert np.array_equal(drawn(export, 'a.png'), expected)


def test_a_mask_keeps_its_hole(export):
    expected = boxes(24, 32, (2, 6, 4, 20, 10), (0, 9, 6, 12, 8))
    assert np.array_equal(drawn(export, 'b.png'), expected)


def test_an_ellipse_is_the_one_that_datumaro_draws(export):
    theirs = Image.open(EXPORTS / 'datumaro_voc_masks/SegmentationClass/c.png').convert('L')
    rows, columns = np.mgrid[:24, :32] + 0.5
    distance = ((columns - 14) / 10) ** 2 + ((rows - 10) / 6) ** 2
    assert np.array_equal(np.asarray(theirs) > 0, distance <= 1)
    different = (drawn(export, 'c.png') > 0) != (distance <= 1)
    assert (
        abs(distance[different] - 1) < 0.03
    ).all()  # a pixel at the edge is on one side or the other


def test_lines_become_areas_on_demand():
    wide = datumaro.read(EXPORTS / 'datumaro', None, line_width=2)
    mask = drawn(wide, 'a.png')
    assert (mask[3:5, :2] == 2).all() and mask[0, 0] == 1 and not wide.counts[LINES]


def test_the_folder_of_images_may_be_another_one(tmp_path):
    shutil.copytree(EXPORTS / 'datumaro/annotations', tmp_path / 'annotations')
    assert not any(image.path for image in datumaro.read(tmp_path, None).images)
    found = datumaro.read(tmp_path, EXPORTS / 'datumaro/images')
    assert image_of(found, 'val/c.png').path == EXPORTS / 'datumaro/images/val/c.png'


def set_version(content):
    content['dm_format_version'] = '2.0'


def unknown_class(content):
    content['items'][0]['annotations'][0]['label_id'] = 7


def no_classes(content):
    content['categories'] = {}


def other_size(content):
    content['items'][1]['image']['size'] = [20, 32]


def other_classes(content):
    content['categories']['label']['labels'].reverse()


def video(content):
    del content['items'][0]['image']
    content['items'][0]['video_frame'] = dict(video_path='a.mp4', frame_index=3)


def unknown_shape(content):
    content['items'][0]['annotations'][0]['type'] = 'spiral'


@pytest.mark.parametrize(
    'change, words',
    [
        (set_version, 'train.json is of the Datumaro format 2.0, expected 1.x'),
        (unknown_class, 'has the class 7, but 2 classes are listed'),
        (no_classes, "the 'categories' of .*train.json has no 'label'"),
        (other_size, 'an RLE of 32 x 24 pixels, but its image is 32 x 20'),
        (other_classes, 'train.json and .*val.json disagree about the classes'),
        (video, 'the item a of .*train.json is no image but a frame of a video'),
        (unknown_shape, "is of the type 'spiral', expected one of polygon"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, change, words):
    with pytest.raises(SetupError, match=words):
        datumaro.read(changed(tmp_path, change), None)


def test_a_file_cut_off_and_an_empty_one(tmp_path):
    text = (EXPORTS / 'datumaro/annotations/train.json').read_text()
    (tmp_path / 'train.json').write_text(text[:300])
    with pytest.raises(SetupError, match='train.json is no complete JSON'):
        datumaro.read(tmp_path / 'train.json', None)
    (tmp_path / 'train.json').write_text('')
    with pytest.raises(SetupError, match='train.json is empty'):
        datumaro.read(tmp_path / 'train.json', None)


def test_two_points_are_left_out_and_points_outside_clipped(tmp_path):
    def change(content):
        shapes = content['items'][0]['annotations']
        shapes[0]['points'] = [2, 2, 14, 2]
        shapes[1]['bbox'] = [28, 20, 10, 10]

    export = datumaro.read(changed(tmp_path, change), None)
    assert np.array_equal(drawn(export, 'a.png'), boxes(24, 32, (2, 28, 20, 32, 24)))
