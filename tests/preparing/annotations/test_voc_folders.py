"""VOC folders: exports of datumaro, and folders written here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import read_export, voc
from mmseg_semi.preparing.projects import choose_classes
from mmseg_semi.preparing.projects.writing import MaskReader

DATA = Path(__file__).parent / 'exports'


def masks_of(export) -> dict[str, np.ndarray]:
    reader = MaskReader(export, choose_classes(export))
    return {i.name: reader.read(i.mask) for i in export.images if i.mask is not None}


def test_datumaro_writes_no_colours_and_those_of_the_voc_colour_map_are_in_its_masks():
    assert 'leaf:::' in (DATA / 'datumaro_voc_whole/labelmap.txt').read_text()
    export = read_export(DATA / 'datumaro_voc_whole')
    assert export.colours == dict(background='#000000', leaf='#800000', stone='#008000')
    assert export.counts[voc.FROM_MAP] == 3 and export.unmarked_class == 'background'
    masks = masks_of(export)
    expected = np.zeros((12, 16), np.uint8)
    expected[2:8, 2:10], expected[4:10, 6:12] = 1, 2
    assert np.array_equal(masks['overlap.png'], expected)
    assert sorted(masks) == ['overlap.png', 'painted.png']


def test_polygons_that_datumaro_dropped_are_counted():
    export = read_export(DATA / 'datumaro_voc_dropped')
    annotated = {image.name: image.annotated for image in export.images}
    assert annotated == {'nothing.png': False, 'overlap.png': False, 'painted.png': True}
    assert export.counts[voc.DROPPED] == 2 and 'polygons_to_masks' in voc.DROPPED


class Voc:
    """A VOC folder with masks of 4 x 2 pixels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / 'SegmentationClass').mkdir()
        (root / 'ImageSets/Segmentation').mkdir(parents=True)
        self.labels('background:0,0,0::', 'leaf:0,128,0::', 'stone:128,128,128::')

    def labels(self, *lines: str) -> None:
        text = '\n'.join(['# label:color_rgb:parts:actions', *lines, ''])
        (self.root / 'labelmap.txt').write_text(text)

    def mask(self, name: str, pixels, mode: str = 'RGB') -> None:
        image = Image.fromarray(np.uint8(pixels))
        image.convert(mode).save(self.root / f'SegmentationClass/{name}.png')

    def image(self, name: str, folder: str = 'JPEGImages') -> None:
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 2)).save(path)

    def list(self, name: str, *images: str) -> None:
        (self.root / f'ImageSets/Segmentation/{name}.txt').write_text('\n'.join(images) + '\n')


COLOURS = np.uint8([[0, 0, 0], [0, 128, 0], [128, 128, 128], [224, 224, 192]])


@pytest.fixture
def made(tmp_path):
    made = Voc(tmp_path)
    made.mask('a', COLOURS[[[0, 1, 2, 3], [0, 0, 1, 1]]])
    for name in ('a.jpg', 'b.jpg', 'sub/c.jpg'):
        made.image(name)
    return made


def test_colours_void_borders_and_images_without_mask(made):
    export = read_export(made.root)
    assert export.classes == ['leaf', 'stone']
    assert masks_of(export)['a.jpg'].tolist() == [[0, 1, 2, 255], [0, 0, 1, 1]]
    assert {i.name: i.annotated for i in export.images} == {
        'a.jpg': True,
        'b.jpg': False,
        'sub/c.jpg': False,
    }


def test_unmarked_pixels_may_be_ignored(made):
    export = read_export(made.root)
    classes = choose_classes(export, None, 'ignore')
    assert classes.names == ('leaf', 'stone')
    mask = MaskReader(export, classes).read(export.images[0].mask)
    assert mask.tolist() == [[255, 0, 1, 255], [255, 255, 0, 0]]


def test_grey_masks_hold_indices(made):
    made.mask('a', [[0, 1, 2, 255], [0, 0, 1, 1]], 'L')
    export = read_export(made.root)
    assert export.version == 'indices in the masks'
    assert masks_of(export)['a.jpg'].tolist() == [[0, 1, 2, 255], [0, 0, 1, 1]]


def test_lists_are_parts(made):
    made.mask('b', COLOURS[[[0] * 4] * 2])
    made.list('train', 'a')
    made.list('val', 'b')
    made.list('trainval', 'a', 'b', 'sub/c')
    export = read_export(made.root)
    assert [image.part for image in export.images] == ['train', 'val', None]
    assert export.counts[voc.WITHOUT_MASK] == 1
    made.list('val', 'b', 'a')
    with pytest.raises(SetupError, match=r'train.txt and \S+val.txt disagree about the image a'):
        read_export(made.root)


def test_images_elsewhere_and_absent(made):
    made.mask('gone', COLOURS[[[0] * 4] * 2])
    made.image('a.png', 'photos/deep')
    export = read_export(made.root, made.root / 'photos')
    assert {i.name: i.path for i in export.images} == {
        'deep/a.png': made.root / 'photos/deep/a.png',
        'gone': None,
    }


def test_images_of_one_name_in_several_folders(made):
    """A mask takes an image of its own path; by the name alone only where that leaves one."""
    made.mask('c', COLOURS[[[0] * 4] * 2])
    made.image('other/a.jpg')
    made.image('other/c.jpg')
    export = read_export(made.root)
    assert {i.name: i.annotated for i in export.images} == {
        'a.jpg': True,
        'b.jpg': False,
        'c': True,
        'other/a.jpg': False,
        'other/c.jpg': False,
        'sub/c.jpg': False,
    }
    (made.root / 'JPEGImages/other/c.jpg').unlink()
    export = read_export(made.root)
    assert {i.name: i.annotated for i in export.images if 'c.' in i.name} == {'sub/c.jpg': True}


def test_voc_itself_has_its_own_classes(made):
    (made.root / 'labelmap.txt').unlink()
    made.mask('a', np.uint8([[[128, 0, 0], [0, 64, 128], [224, 224, 192], [0, 0, 0]]] * 2))
    export = read_export(made.root)
    assert len(export.classes) == 20
    assert masks_of(export)['a.jpg'][0].tolist() == [1, 20, 255, 0]


def test_without_a_background_black_is_unmarked(made):
    made.labels('leaf:0,128,0::', 'stone:128,128,128::')
    export = read_export(made.root)
    assert export.unmarked_class == 'background'
    assert masks_of(export)['a.jpg'][0].tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize(
    ('lines', 'sentence'),
    [
        (['leaf:0,128::'], "labelmap.txt: the class 'leaf' has the colour '0,128', expected red"),
        (['leaf:0,128,300::'], "has the colour '0,128,300'"),
        (['leaf:x::'], "has the colour 'x'"),
        (['leaf:1,1,1::', 'leaf:2,2,2::'], "has the class 'leaf' twice"),
        ([], 'labelmap.txt names no class'),
    ],
)
def test_mistakes_in_the_label_map(made, lines, sentence):
    made.labels(*lines)
    with pytest.raises(SetupError, match=sentence):
        read_export(made.root)


def test_a_colour_that_the_label_map_lacks(made):
    made.mask('a', np.uint8([[[9, 9, 9]] * 4] * 2))
    with pytest.raises(
        SetupError, match=r'a.png holds values that .* does not map: #090909 .8 pix'
    ):
        masks_of(read_export(made.root))


def test_a_folder_without_masks(made):
    (made.root / 'SegmentationClass/a.png').unlink()
    with pytest.raises(SetupError, match=r'has no mask, looked for was \S+SegmentationClass/NAME'):
        read_export(made.root)
