"""YOLO segmentation in the layouts that tools write, with polygons of known pixels."""

from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS, boxes, drawn, image_of
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import yolo

SIZE = 40, 20  # width, height


def line(index: int, left: int, top: int, right: int, bottom: int) -> str:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return ' '.join([str(index), *(f'{x / SIZE[0]:.6f} {y / SIZE[1]:.6f}' for x, y in corners)])


def write(root: Path, names='[leaf, stone]', extra='', swapped=False, **texts: str | None) -> Path:
    """A data set: file name, with '__' for '/', -> its lines; None for an image without a text file."""
    root.mkdir(exist_ok=True)
    (root / 'data.yaml').write_text(
        f'train: images/train\nval: images/val\nnames: {names}\n{extra}'
    )
    for key, text in texts.items():
        part, name = key.split('__')
        folder = '{part}/{kind}' if swapped else '{kind}/{part}'
        image = root / folder.format(part=part, kind='images') / f'{name}.png'
        label = root / folder.format(part=part, kind='labels') / f'{name}.txt'
        for file in (image, label):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', SIZE).save(image)
        if text is not None:
            label.write_text(text)
    return root


@pytest.mark.parametrize('swapped', [False, True])
def test_an_empty_text_file_is_an_annotation_and_none_is_not(tmp_path, swapped):
    texts = dict(
        train__a=line(0, 2, 2, 10, 8), train__b='\n', train__c=None, val__d=line(1, 0, 0, 4, 4)
    )
    export = yolo.read(write(tmp_path, swapped=swapped, **texts), None)
    assert export.classes == ['leaf', 'stone'] and export.unmarked[0] == 'background'
    found = {image.path.stem: (image.annotated, image.part) for image in export.images}
    assert found == dict(a=(True, 'train'), b=(True, 'train'), c=(False, 'train'), d=(True, 'val'))
    assert np.array_equal(drawn(export, 'a.png'), boxes(20, 40, (1, 2, 2, 10, 8)))
    assert not drawn(export, 'b.png').any()
    assert np.array_equal(drawn(export, 'd.png'), boxes(20, 40, (2, 0, 0, 4, 4)))
    assert export.counts[yolo.NOTHING_THERE] == export.counts[yolo.NO_FILE] == 1


@pytest.mark.parametrize('turned', [False, True])
def test_the_smaller_polygon_is_on_top(tmp_path, turned):
    lines = [line(0, 2, 2, 20, 12), line(1, 4, 4, 8, 8)]
    text = '\n'.join(lines[::-1] if turned else lines)
    export = yolo.read(write(tmp_path, train__a=text), None)
    assert np.array_equal(drawn(export, 'a.png'), boxes(20, 40, (1, 2, 2, 20, 12), (2, 4, 4, 8, 8)))


def test_an_image_is_as_large_as_training_sees_it(tmp_path):
    """The orientation tag turns it, and the coordinates are of the turned image."""
    root = write(tmp_path, train__a='0 0 0 0.5 0 0.5 0.5 0 0.5')
    image = Image.new('RGB', SIZE)
    tags = image.getexif()
    tags[0x0112] = 6
    (root / 'images/train/a.png').unlink()
    image.save(root / 'images/train/a.jpg', exif=tags)
    export = yolo.read(root, None)
    assert export.images[0].size == (20, 40)
    assert np.array_equal(drawn(export, 'a.jpg'), boxes(40, 20, (1, 0, 0, 10, 20)))


def test_names_by_index_and_parts_by_lists(tmp_path):
    """As CVAT writes 'Ultralytics YOLO Segmentation': lists of files, and indices with names."""
    root = write(
        tmp_path, '{0: leaf, 2: stone}', train__a=line(2, 0, 0, 4, 4), train__b=line(0, 0, 0, 4, 4)
    )
    (root / 'train.txt').write_text('data/images/train/a.png\n')
    (root / 'val.txt').write_text('./images/train/b.png\n')
    (root / 'data.yaml').write_text(
        'path: .\ntrain: train.txt\nval: val.txt\nnames:\n  0: leaf\n  2: stone\n'
    )
    export = yolo.read(root, None)
    assert image_of(export, 'b.png').part == 'val' and image_of(export, 'a.png').part == 'train'
    assert (drawn(export, 'a.png')[:4, :4] == 2).all()


def test_images_in_another_folder_and_missing_ones(tmp_path):
    root = write(tmp_path / 'export', train__a=line(0, 0, 0, 4, 4), train__b=line(1, 0, 0, 4, 4))
    (tmp_path / 'photos').mkdir()
    (root / 'images/train/a.png').rename(tmp_path / 'photos/a.png')
    assert image_of(yolo.read(root, None), 'train/a').path is None
    export = yolo.read(root, tmp_path / 'photos')
    assert image_of(export, 'a.png').path == tmp_path / 'photos/a.png'
    assert image_of(export, 'train/b').path is None and not image_of(export, 'train/b').regions


def test_datumaro_writes_boxes_where_polygons_were():
    """datumaro 1.13.12 writes boxes alone: polygons and masks are gone, and such images look like ones with nothing on them."""
    root = EXPORTS / 'datumaro_yolo'
    assert (root / 'labels/train/b.txt').read_text() == ''  # had a mask
    assert yolo.matches(root)
    with pytest.raises(SetupError, match='line 1 of .*a.txt has 4 numbers .* a box of a detection'):
        yolo.read(root, None)


@pytest.mark.parametrize(
    'text, words',
    [
        ('2 0 0 1 0 1 1', 'of the class 2, but .*data.yaml names 0: leaf, 1: stone'),
        ('0 0.5 0.5 0.2 0.2', 'a box of a detection data set, or two points'),
        ('0', 'has 0 numbers after the class, a class alone'),
        ('0 0 0 1 0 1 1 1', 'has 7 numbers after the class'),
        ('leaf 0 0 1 0 1 1', 'is no index of a class and numbers'),
        ('0 0 0 40 0 40 20', 'has the coordinate 40, expected shares of the image'),
        ('0 0 0 nan 0 1 1', 'expected x and y of three points'),
    ],
)
def test_a_line_that_is_no_polygon_is_refused(tmp_path, text, words):
    with pytest.raises(SetupError, match=words):
        yolo.read(write(tmp_path, train__a=text), None)


@pytest.mark.parametrize(
    'names, extra, words',
    [
        ('[]', '', r'has names=\[\], expected the classes'),
        ('[leaf, stone]', 'nc: 3', 'has nc=3, but 2 names'),
        ('[leaf, stone]', 'kpt_shape: [17, 3]', 'a data set of key points'),
        ('[leaf', '', 'data.yaml is no YAML'),
        ('{one: leaf}', '', "an index of 'names' that is no number"),
    ],
)
def test_a_description_that_is_wrong_is_refused(tmp_path, names, extra, words):
    with pytest.raises(SetupError, match=words):
        yolo.read(write(tmp_path, names, extra, train__a=''), None)


def test_no_labels_and_no_description(tmp_path):
    root = write(tmp_path, train__a=None)
    with pytest.raises(SetupError, match='holds no text file'):
        yolo.read(root, None)
    (root / 'data.yaml').unlink()
    with pytest.raises(SetupError, match="has no data.yaml with 'names'"):
        yolo.read(root, None)


def test_points_outside_are_clipped(tmp_path):
    export = yolo.read(write(tmp_path, train__a=line(0, 36, 16, 44, 24)), None)
    assert np.array_equal(drawn(export, 'a.png'), boxes(20, 40, (1, 36, 16, 40, 20)))


def test_two_text_files_of_one_image(tmp_path):
    root = write(tmp_path, train__a=line(0, 0, 0, 4, 4), val__a=line(0, 0, 0, 4, 4))
    (root / 'images/val/a.png').unlink()
    with pytest.raises(SetupError, match='annotates the images .*images/train/a.png'):
        yolo.read(root, None)
