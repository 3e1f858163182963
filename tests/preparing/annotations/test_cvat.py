"""CVAT's XML: as CVAT writes it for a project, and as datumaro does."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS, boxes, drawn, image_of
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import cvat
from mmseg_semi.preparing.annotations.drawing import TOO_SHORT, draw_regions
from mmseg_semi.preparing.annotations.files import BY_NAME
from mmseg_semi.preparing.annotations.shapes import LINES

TEXT = (EXPORTS / 'cvat/annotations.xml').read_text()


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """The export of a project with its images, in a folder for each subset."""
    folder = tmp_path_factory.mktemp('cvat')
    shutil.copy(EXPORTS / 'cvat/annotations.xml', folder)
    for subset, names in dict(Train='ab', Validation='c').items():
        for name in names:
            file = folder / f'images/{subset}/day 1/{name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (40, 30)).save(file)
    return folder


@pytest.fixture(scope='module')
def export(folder):
    return cvat.read(folder, None)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """The file with one piece of text in place of another."""
    assert old in TEXT
    file = tmp_path / 'annotations.xml'
    file.write_text(TEXT.replace(old, new))
    return file


def test_classes_are_the_labels_that_can_be_regions(export):
    assert export.classes == ['water', 'reed']
    assert export.colours == dict(water='#33ddff', reed='#24b353')


def test_images_are_found_in_the_folders_of_their_subsets(export, folder):
    assert [(image.name, image.part, image.annotated) for image in export.images] == [
        ('Train/day 1/a.png', 'train', True),
        ('Train/day 1/b.png', 'train', True),
        ('Validation/day 1/c.png', 'val', False),
    ]
    assert all(image.path == folder / 'images' / image.name for image in export.images)
    assert {image.size for image in export.images} == {(40, 30)}


def test_shapes_overlap_by_their_z_order(export):
    expected = boxes(
        30,
        40,
        (1, 28, 10, 32, 22),  # the box of 12 x 4 about (30, 16), turned by a right angle
        (2, 2, 2, 30, 8),
        (1, 4, 4, 20, 16),
    )
    rows = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
    expected[10:13, 18:23][rows] = 2
    assert np.array_equal(drawn(export, 'a.png'), expected)


def test_a_turned_ellipse(export):
    rows, columns = np.mgrid[:30, :40] + 0.5
    along = (columns - 20) * np.cos(np.pi / 6) + (rows - 15) * np.sin(np.pi / 6)
    across = (rows - 15) * np.cos(np.pi / 6) - (columns - 20) * np.sin(np.pi / 6)
    distance = (along / 12) ** 2 + (across / 5) ** 2
    different = (drawn(export, 'b.png') == 1) != (distance <= 1)
    assert (abs(distance[different] - 1) < 0.05).all()


def test_what_has_no_area_is_counted(export):
    assert export.counts[LINES] == 2  # a polyline and a shape of points
    assert (
        export.counts[cvat.NO_AREA] == export.counts[cvat.TAGS] == export.counts[cvat.NOTHING] == 1
    )


def test_lines_become_areas_on_demand(folder):
    wide = cvat.read(folder, None, line_width=2)
    assert wide.classes == ['water', 'reed', 'shore']
    mask = drawn(wide, 'a.png')
    assert (mask[27:29] == 3).all() and (mask == 3).sum() == 80


def test_an_export_of_datumaro():
    """Its writer has a file for each subset and leaves ellipses out."""
    export = cvat.read(EXPORTS / 'datumaro_cvat', None)
    assert export.classes == ['leaf', 'stone'] and not export.colours
    assert np.array_equal(
        drawn(export, 'a.png'), boxes(24, 32, (2, 8, 6, 24, 16), (1, 2, 2, 14, 12))
    )
    assert np.array_equal(
        drawn(export, 'b.png'), boxes(24, 32, (2, 6, 4, 20, 10), (0, 9, 6, 12, 8))
    )
    assert not image_of(export, 'c.png').annotated
    assert [image.part for image in export.images] == ['train', 'train', 'val', 'val']
    assert all(image.path for image in export.images)


@pytest.mark.parametrize(
    'old, new, words',
    [
        ('<version>1.1<', '<version>1.0<', "of the version '1.0', expected 1.1"),
        ('polygon label="water"', 'polygon label="sea"', "a polygon of the class 'sea'.* lacks"),
        ('rle="0, 3,', 'rle="0, 4,', 'day 1/a.png .*a mask of 5 x 3 pixels, but its runs have 16'),
        ('rle="0, 3,', 'rle="0, x,', 'a mask whose rle is no list of numbers'),
        ('xtl="2.00"', 'xtl="left"', "<box> with xtl='left', expected a number"),
        ('cx="20.00"', '', '<ellipse> with cx=None, expected a number'),
        ('width="40" height="30"', 'width="0" height="30"', 'has the size 0 x 30, expected pixels'),
        ('points="4.00,4.00;', 'points="4.00;', 'a polygon that is no list of x, y'),
        ('<tag label="night" source="manual">\n    </tag>', '<spiral label="reed"/>', 'a <spiral>'),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, old, new, words):
    with pytest.raises(SetupError, match=words):
        cvat.read(changed(tmp_path, old, new), None)


@pytest.mark.parametrize(
    'text, words',
    [
        ('', 'annotations.xml is empty'),
        (TEXT[:3000], 'annotations.xml is no complete XML file'),
        (TEXT[: TEXT.index('<image')] + '</annotations>', 'names no image'),
        ('<annotation><folder>VOC</folder></annotation>', 'begins with <annotation>'),
        (
            '<annotations><version>1.1</version><track id="0" label="water"/></annotations>',
            "holds tracks of a video .* export the same task as 'CVAT for images 1.1'",
        ),
        (
            '<!DOCTYPE annotations [<!ENTITY name "water">]>\n<annotations>&name;</annotations>',
            'has a document type',
        ),
    ],
)
def test_no_export_of_images(tmp_path, text, words):
    (tmp_path / 'annotations.xml').write_text(text)
    with pytest.raises(SetupError, match=words):
        cvat.read(tmp_path / 'annotations.xml', None)


def test_a_polygon_of_two_points_is_counted_when_it_is_drawn(tmp_path):
    file = changed(tmp_path, ';20.00,16.00;4.00,16.00', '')
    image = image_of(cvat.read(file, None), 'a.png')
    _, counts = draw_regions(image, image.size, dict(water=1, reed=2), 0)
    assert counts[TOO_SHORT] == 1


def test_an_image_in_two_tasks(tmp_path):
    again = '<image id="0" name="day 1/b.png" subset="Train" width="40" height="30">{}</image>'
    empty = changed(tmp_path, '</annotations>', again.format('') + '</annotations>')
    export = cvat.read(empty, None)
    assert len(export.images) == 3 and image_of(export, 'b.png').annotated
    box = '<box label="reed" xtl="0" ytl="0" xbr="9" ybr="9"/>'
    both = changed(tmp_path, '</annotations>', again.format(box) + '</annotations>')
    with pytest.raises(SetupError, match='annotates the image Train/day 1/b.png twice'):
        cvat.read(both, None)


def test_one_file_cannot_be_two_images(tmp_path):
    """Subsets may use one name for two images; in a folder without subsets only one of them is there."""
    (tmp_path / 'photos').mkdir()
    for name in 'abc':
        Image.new('RGB', (40, 30)).save(tmp_path / f'photos/{name}.png')
    export = cvat.read(EXPORTS / 'cvat', tmp_path / 'photos')
    assert export.counts[BY_NAME] == 3  # the export says 'day 1/a.png'
    box = '<box label="reed" xtl="0" ytl="0" xbr="9" ybr="9"/>'
    again = '<image id="9" name="day 1/b.png" subset="Test" width="40" height="30">{}</image>'
    empty = changed(tmp_path, '</annotations>', again.format('') + '</annotations>')
    assert len(cvat.read(empty, tmp_path / 'photos').images) == 3
    both = changed(tmp_path, '</annotations>', again.format(box) + '</annotations>')
    with pytest.raises(
        SetupError, match='images Test/day 1/b.png and Train/day 1/b.png, and the file of both'
    ):
        cvat.read(both, tmp_path / 'photos')
