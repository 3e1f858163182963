"""Label Studio's export 'JSON': which annotation counts, where images are, and shapes in percent."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_exports import EXPORTS, boxes, drawn, image_of
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import label_studio

PROJECT = EXPORTS / 'label_studio/project.json'
FILES = (
    'one.png',  # the user's own name of an uploaded file
    'photos/two b.png',
    'photos/three.png',
    '0a1b2c3d-four.png',  # the name that Label Studio gives it
    'deep/five.png',
    'six.png',
)


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (40, 20)).save(folder / name)
    return folder


@pytest.fixture(scope='module')
def export(images):
    return label_studio.read(PROJECT, images)


def changed(tmp_path: Path, change) -> Path:
    """The first task alone, changed."""
    tasks = json.loads(PROJECT.read_text())[:1]
    change(tasks[0])
    (tmp_path / 'project.json').write_text(json.dumps(tasks))
    return tmp_path / 'project.json'


def test_images_are_found_by_their_names(export, images):
    found = {image.name: image.path for image in export.images}
    assert found == {name: images / name for name in FILES} | {'0a1b2c3d-seven.png': None}


def test_classes_are_sorted_by_name(export):
    assert export.classes == ['cat', 'dog']


def test_polygon_turned_rectangle_and_brush(export):
    expected = boxes(
        20,
        40,
        (2, 4, 2, 20, 12),
        # 50, 50 percent is the corner (20, 10); 10 x 4 pixels, turned clockwise by a right angle about it
        (1, 16, 10, 20, 20),
        (1, 5, 12, 25, 18),
    )
    expected[14:16, 8:12] = 0
    assert np.array_equal(drawn(export, 'one.png'), expected)
    assert export.counts[label_studio.NO_AREA] == 1  # a key point; the choice is no region


def test_the_latest_annotation_that_was_not_cancelled_counts(export):
    assert np.array_equal(drawn(export, 'two b.png'), boxes(20, 40, (2, 0, 0, 10, 10)))
    assert export.counts[label_studio.SEVERAL] == 1


def test_a_shape_and_its_class_may_be_two_results(export):
    assert len(image_of(export, 'three.png').regions) == 1
    rows, columns = np.mgrid[:20, :40] + 0.5
    distance = ((columns - 30) / 8) ** 2 + ((rows - 10) / 6) ** 2
    different = (drawn(export, 'three.png') == 2) != (distance <= 1)
    assert (abs(distance[different] - 1) < 0.05).all()


def test_who_submitted_nothing_has_looked_at_the_image(export):
    four = image_of(export, 'four.png')
    assert four.annotated and not four.regions


def test_cancelled_predicted_and_new_tasks_are_unlabelled(export):
    assert not any(image_of(export, f'{name}.png').annotated for name in ('five', 'six', 'seven'))
    assert export.counts[label_studio.CANCELLED] == 2
    assert export.counts[label_studio.PREDICTED] == 1
    assert export.counts[label_studio.NOTHING] == 2


def test_the_folder_of_the_file_is_found_and_its_images(tmp_path):
    shutil.copy(PROJECT, tmp_path)
    Image.new('RGB', (40, 20)).save(tmp_path / 'six.png')
    assert label_studio.matches(tmp_path)
    assert image_of(label_studio.read(tmp_path, None), 'six.png').path == tmp_path / 'six.png'


def test_an_image_turned_in_the_tool_is_unlabelled(tmp_path):
    def turn(task):
        task['annotations'][0]['result'][0]['image_rotation'] = 90

    export = label_studio.read(changed(tmp_path, turn), None)
    assert export.counts[label_studio.TURNED] == 1 and not export.images[0].annotated


def test_results_without_a_size_have_that_of_the_image(tmp_path, images):
    def forget(task):
        for result in task['annotations'][0]['result']:
            result.pop('original_width', None), result.pop('original_height', None)

    export = label_studio.read(changed(tmp_path, forget), images)
    assert image_of(export, 'one.png').size == (40, 20)
    assert (drawn(export, 'one.png')[2:10, 4:20] == 2).all()


def test_regions_without_a_class_and_of_two(tmp_path):
    def change(task):
        results = task['annotations'][0]['result']
        del results[0]['value']['polygonlabels']
        results[1]['value']['rectanglelabels'] = ['cat', 'dog']

    export = label_studio.read(changed(tmp_path, change), None)
    assert export.counts[label_studio.NO_CLASS] == export.counts[label_studio.SEVERAL_CLASSES] == 1
    assert drawn(export, 'one.png')[3, 5] == 255


def test_an_image_inside_of_its_task(tmp_path):
    def embed(task):
        task['data'] = {'picture': 'data:image/png;base64,aGVsbG8=', 'note': 'new'}

    (image,) = label_studio.read(changed(tmp_path, embed), None).images
    assert image.name == 'task 1.png' and image.content() == b'hello'


def cut_stroke(task):
    del task['annotations'][0]['result'][2]['value']['rle'][40:]


def stroke_of_another_size(task):
    task['annotations'][0]['result'][2].update(original_width=41)


def no_bytes(task):
    task['annotations'][0]['result'][2]['value']['rle'] = [0, 0, 999]


def two_sizes(task):
    task['annotations'][0]['result'][1].update(original_width=80)


def no_stroke(task):
    del task['annotations'][0]['result'][2]['value']['rle']
    task['annotations'][0]['result'][2]['value']['maskDataURL'] = 'data:image/png;base64,'


def corners(task):
    task['annotations'][0]['result'][0]['value']['points'] = [[1, 'left']]


def two_images(task):
    task['data'] = {'left': 'a.png', 'right': 'b.png'}


@pytest.mark.parametrize(
    'change, words',
    [
        (stroke_of_another_size, 'a brush stroke of 3200 values, .* 41 x 20 are 3280'),
        (no_bytes, 'run lengths are damaged'),
        (two_sizes, r'results of images of \(40, 20\) and of \(80, 20\)'),
        (no_stroke, "is a 'brushlabels' without 'rle'"),
        (corners, 'list of x, y'),
        (two_images, r"names 2 images in its 'data' \(left, right\)"),
        (lambda task: task.pop('annotations'), "has no list 'annotations'"),
        (lambda task: task.pop('data'), "has a task without 'data'"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, change, words):
    with pytest.raises(SetupError, match=words):
        label_studio.read(changed(tmp_path, change), None)


def test_a_stroke_that_is_cut_off_is_refused_when_it_is_drawn(tmp_path):
    export = label_studio.read(changed(tmp_path, cut_stroke), None)
    with pytest.raises(SetupError, match='task 1 .* damaged .it ends early.'):
        drawn(export, 'one.png')


@pytest.mark.parametrize(
    'text, words',
    [
        ('', 'is empty'),
        ('[]', 'holds no task'),
        (PROJECT.read_text()[:900], 'no complete JSON'),
        (
            '[{"image": "a.png", "id": 1, "label": [], "annotator": 1, "annotation_id": 2}]',
            "JSON-MIN or no export of tasks, export as 'JSON' instead",
        ),
    ],
)
def test_no_export_of_tasks(tmp_path, text, words):
    (tmp_path / 'project.json').write_text(text)
    with pytest.raises(SetupError, match=words):
        label_studio.read(tmp_path / 'project.json', None)


def test_two_files_in_a_folder(tmp_path):
    shutil.copy(PROJECT, tmp_path / 'a.json')
    shutil.copy(PROJECT, tmp_path / 'b.json')
    with pytest.raises(SetupError, match='holds 2 JSON files of Label Studio'):
        label_studio.read(tmp_path, None)
