"""A project of Supervisely's SDK, compared with the mask that the SDK draws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS, boxes, drawn, image_of
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import supervisely
from mmseg_semi.preparing.annotations.drawing import CLIPPED, TOO_SHORT
from mmseg_semi.preparing.annotations.shapes import LINES


@pytest.fixture(scope='module')
def export():
    return supervisely.read(EXPORTS / 'supervisely', None)


def changed(tmp_path: Path, change) -> Path:
    """A copy of the project; ``change`` gets the first image's annotation."""
    shutil.copytree(EXPORTS / 'supervisely', tmp_path / 'project')
    file = tmp_path / 'project/train/ann/a.png.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return tmp_path / 'project'


def test_classes_parts_and_images(export):
    assert export.classes == ['leaf', 'stone']  # wire is a line
    assert export.colours == dict(leaf='#008000', stone='#808080')
    assert [(image.name, image.part, image.annotated) for image in export.images] == [
        ('train/a.png', 'train', True),
        ('train/b.png', 'train', False),  # without a file of annotations
        ('val/c.png', 'val', False),  # with a file without figures
    ]
    assert all(image.path.is_file() for image in export.images)
    assert export.counts[LINES] == 2 and export.counts[supervisely.NOTHING] == 2


def test_the_mask_is_that_of_the_sdk(export):
    theirs = np.asarray(Image.open(EXPORTS / 'supervisely_a.png'))
    assert np.array_equal(drawn(export, 'a.png'), theirs)
    assert theirs[8, 8] == 0 and theirs[3, 3] == 1  # a hole in the polygon


def test_lines_become_areas_on_demand():
    wide = supervisely.read(EXPORTS / 'supervisely', None, line_width=2)
    assert wide.classes == ['leaf', 'stone', 'wire']
    assert (drawn(wide, 'a.png')[20, 1:10] == 3).all()


def test_images_in_another_folder(tmp_path):
    project = changed(tmp_path, lambda content: None)
    for name in ('train', 'val'):
        shutil.move(project / name / 'img', tmp_path / 'images' / name)
    Image.new('RGB', (32, 24)).save(tmp_path / 'images/new.png')
    assert [image.path for image in supervisely.read(project, None).images] == [None, None]
    export = supervisely.read(project / 'meta.json', tmp_path / 'images')
    assert [image.name for image in export.images] == [
        'new.png',
        'train/a.png',
        'train/b.png',
        'val/c.png',
    ]
    assert all(image.path for image in export.images)


def test_files_of_old_projects_have_no_ending_of_the_image(tmp_path):
    project = changed(tmp_path, lambda content: None)
    file = project / 'train/ann/a.png.json'
    file.rename(file.with_name('a.json'))
    image = image_of(supervisely.read(project, None), 'train/a.png')
    assert image.path.name == 'a.png' and len(image.regions) == 3


def test_figures_outside_and_of_two_points_are_counted(tmp_path):
    def change(content):
        polygon, box, *_ = content['objects']
        polygon['points'] = dict(exterior=[[1, 1], [5, 5]], interior=[])
        box['points']['exterior'] = [[28, 20], [40, 30]]
        far = dict(polygon, points=dict(exterior=[[-4, 2], [3, 2], [3, 3], [-4, 3]], interior=[]))
        content['objects'] = [polygon, box, far]

    export = supervisely.read(changed(tmp_path, change), None)
    expected = boxes(24, 32, (2, 28, 20, 32, 24), (1, 0, 2, 4, 4))
    assert np.array_equal(drawn(export, 'a.png'), expected)
    assert export.counts[TOO_SHORT] == export.counts[CLIPPED] == 1


def test_polygons_of_several_parts(tmp_path):
    def change(content):
        figure = content['objects'][0]
        figure['geometryType'] = 'multipolygon'
        square = [[0, 0], [3, 0], [3, 3], [0, 3]]
        other = [[10, 10], [12, 10], [12, 12], [10, 12]]
        del figure['points']
        figure['parts'] = [dict(exterior=square, interior=[]), dict(exterior=other)]
        content['objects'] = [figure]

    export = supervisely.read(changed(tmp_path, change), None)
    assert np.array_equal(
        drawn(export, 'a.png'), boxes(24, 32, (1, 0, 0, 4, 4), (1, 10, 10, 13, 13))
    )


def unknown_class(content):
    content['objects'][0]['classTitle'] = 'bark'


def no_size(content):
    del content['size']


def unknown_geometry(content):
    content['objects'][0]['geometryType'] = 'point_cloud'


def no_base64(content):
    content['objects'][2]['bitmap']['data'] = '%%%'


def not_packed(content):
    content['objects'][2]['bitmap']['data'] = 'aGVsbG8='


def three_corners(content):
    content['objects'][1]['points']['exterior'] = [[1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize(
    'change, words',
    [
        (unknown_class, "is of the class 'bark', which .*meta.json lacks"),
        (no_size, "a.png.json has no 'size'"),
        (unknown_geometry, "is of the geometry 'point_cloud', expected one of polygon"),
        (no_base64, 'a bitmap that is no base64'),
        (not_packed, 'a bitmap that cannot be unpacked'),
        (three_corners, 'a rectangle of 3 corners, expected two'),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, change, words):
    with pytest.raises(SetupError, match=words):
        supervisely.read(changed(tmp_path, change), None)


def test_a_project_without_its_files(tmp_path):
    project = changed(tmp_path, lambda content: None)
    file = project / 'train/ann/a.png.json'
    file.write_text(file.read_text()[:200])
    with pytest.raises(SetupError, match='a.png.json is no complete JSON'):
        supervisely.read(project, None)
    file.write_text('')
    with pytest.raises(SetupError, match='a.png.json is empty'):
        supervisely.read(project, None)
    for file in project.rglob('ann/*'):
        file.unlink()
    with pytest.raises(SetupError, match='has no file of annotations'):
        supervisely.read(project, None)
    (project / 'meta.json').write_text('{"classes": []}')
    with pytest.raises(SetupError, match='meta.json has no class'):
        supervisely.read(project, None)
    (project / 'meta.json').unlink()
    with pytest.raises(SetupError, match='has no meta.json'):
        supervisely.read(project, None)
