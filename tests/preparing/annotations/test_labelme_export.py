"""labelme: files that labelme wrote, beside what it draws of them, and files written here."""

import json
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import labelme, read_export
from mmseg_semi.preparing.annotations.drawing import draw_regions

DATA = Path(__file__).parent / 'exports'


def image_of(export, name: str):
    (image,) = (image for image in export.images if image.name.endswith(name))
    return image


def mask_of(export, name: str, unmarked: int = 0) -> np.ndarray:
    image = image_of(export, name)
    indices = {label: index for index, label in enumerate(export.classes, 1)}
    return draw_regions(image, image.size, indices, unmarked)[0]


@pytest.fixture(scope='module')
def export():
    return read_export(DATA / 'labelme')


def test_files_and_images_without_one(export):
    assert export.format == 'labelme' and export.version == '6.3.1'
    assert export.classes == ['leaf', 'moss', 'stone']
    assert {image.name: image.annotated for image in export.images} == {
        'all.png': True,
        'deep/turned.jpg': True,
        'empty.png': False,
        'inside.png': True,
        'untouched.png': False,
    }
    assert export.counts[labelme.LINES] == 4 and export.counts[labelme.EMPTY] == 1


def test_shapes_by_hand(export):
    """What has straight sides, with the order of the file."""
    mask = mask_of(export, 'all.png')
    expected = np.zeros((32, 40), np.uint8)
    expected[1:7, 1:9] = 1
    expected[4:8, 6:16] = 3
    expected[21:24, 22:26] = 3
    expected[24:, 32:] = 255
    straight = np.ones((32, 40), bool)
    straight[1:16, 23:38] = straight[15:26, 9:20] = False
    assert np.array_equal(mask[straight], expected[straight])
    assert abs((mask[1:16, 23:38] == 1).sum() - np.pi * 36) < 4
    assert abs((mask[15:26, 9:20] == 2).sum() - 32) <= 2


def grown(mask: np.ndarray, pixels: int = 1) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def test_shapes_beside_what_labelme_draws(export):
    """labelme draws with Pillow, which adds the outline: its regions reach a pixel beyond ours, at corners two."""
    ours = mask_of(export, 'all.png')
    theirs = np.array(Image.open(DATA / 'labelme_drawn.png'))
    for value in (1, 2, 3, 255):
        assert ((theirs == value) <= grown(ours == value, 2)).all()
        above = grown((ours != value) & (ours > 0))  # their outlines cover ours
        assert ((ours == value) <= (grown(theirs == value) | above)).all()
    assert (theirs > 0).sum() > (ours > 0).sum()


def test_sizes_are_those_that_labelme_shows(export):
    turned = image_of(export, 'turned.jpg')
    assert turned.size == (12, 20) and Image.open(turned.path).size == (20, 12)
    assert (mask_of(export, 'turned.jpg')[:10, :4] == 2).all()


def test_an_image_inside_its_file(export):
    image = image_of(export, 'inside.png')
    assert image.path is None and export.counts[labelme.EMBEDDED] == 1
    assert Image.open(BytesIO(image.content())).size == image.size == (8, 6)


def test_lines_get_a_width():
    export = read_export(DATA / 'labelme', line_width=2.0)
    mask = mask_of(export, 'all.png')
    assert (mask[27:29, 2:8] == 1).all() and (mask[11:13, 2:8] == 1).all()
    assert (mask[12:16, 7:9] == 1).all() and mask[25, 3] == 1
    assert labelme.LINES not in +export.counts


class Labelme:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.content = dict(
            version='5.5.0',
            shapes=[self.shape('leaf', [[0, 0], [4, 0], [4, 4]])],
            imagePath='a.png',
            imageData=None,
            imageHeight=6,
            imageWidth=8,
        )
        Image.new('RGB', (8, 6)).save(root / 'a.png')

    @staticmethod
    def shape(label: str, points, kind: str = 'polygon', **more) -> dict:
        return dict(label=label, points=points, shape_type=kind, **more)

    def write(self, name: str = 'a.json') -> Path:
        (self.root / name).write_text(json.dumps(self.content))
        return self.root / name


@pytest.fixture
def made(tmp_path):
    return Labelme(tmp_path)


def test_a_single_file_and_images_elsewhere(made, tmp_path):
    made.content['imagePath'] = r'..\elsewhere\a.png'
    file = made.write()
    assert [image.path for image in read_export(file).images] == [made.root / 'a.png']
    (tmp_path / 'photos/day').mkdir(parents=True)
    (made.root / 'a.png').rename(tmp_path / 'photos/day/a.png')
    export = read_export(file, tmp_path / 'photos')
    assert export.images[0].path == tmp_path / 'photos/day/a.png'
    assert export.images[0].name == 'day/a.png'


def test_the_order_of_a_list_of_labels(made):
    (made.root / 'labels.txt').write_text('__ignore__\n_background_\nstone\nleaf\n')
    made.write()
    assert read_export(made.root).classes == ['background', 'stone', 'leaf']


def test_a_shape_of_an_old_file_is_a_polygon(made):
    made.content['shapes'] = [dict(label='leaf', points=[[0, 0], [4, 0], [4, 4], [0, 4]])]
    made.write()
    assert (mask_of(read_export(made.root), 'a.png') == 1).sum() == 16


MISTAKES = [
    (dict(shapes=None), "a.json has no 'shapes'"),
    (dict(imagePath=None), "has no 'imagePath'"),
    (dict(shapes=[dict(points=[])]), "shape 0 of .*a.json has no 'label'"),
    (dict(shapes=[Labelme.shape('a', 'x')]), "has points='x', which its format requires"),
    (dict(shapes=[Labelme.shape('a', [[1], [2, 3]])]), 'has a polygon that is no list of x, y'),
    (
        dict(shapes=[Labelme.shape('a', [[1, 2]], 'cuboid')]),
        "is a 'cuboid', expected one of polygon, rectangle",
    ),
    (
        dict(shapes=[Labelme.shape('a', [[1, 2]], 'circle')]),
        'is a circle of 1 points, expected two',
    ),
    (
        dict(shapes=[Labelme.shape('a', [[1, 2], [3, 3]], 'mask', mask='x')]),
        "has a 'mask' that is no image in base64",
    ),
]


@pytest.mark.parametrize(('changes', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence(made, changes, sentence):
    made.content |= changes
    with pytest.raises(SetupError, match=sentence) as caught:
        labelme.read(made.write(), None)
    assert '\n' not in str(caught.value)


def test_masks_of_another_size_and_two_files_of_one_image(made):
    content = json.loads((DATA / 'labelme/all.json').read_text())
    (painted,) = (shape for shape in content['shapes'] if shape['shape_type'] == 'mask')
    made.content['shapes'] = [dict(painted, points=[[0, 0], [3, 3]])]
    made.write()
    with pytest.raises(SetupError, match='is a mask of 6 x 4 pixels, but its corners are 4 x 4'):
        read_export(made.root)
    made.content['shapes'] = []
    made.write()
    made.write('b.json')
    with pytest.raises(SetupError, match=r'a.json and \S+b.json are both of the image a.png'):
        read_export(made.root)


def test_empty_files_and_damaged_images(made):
    made.write()
    (made.root / 'b.json').touch()
    with pytest.raises(SetupError, match='b.json is empty'):
        read_export(made.root)
    (made.root / 'b.json').unlink()
    (made.root / 'a.png').unlink()
    made.content['imageData'] = 'x'
    made.write()
    with pytest.raises(SetupError, match="has an 'imageData' that is no base64"):
        read_export(made.root).images[0].content()
