"""COCO: exports of datumaro, and files written here; masks against pycocotools and by hand."""

import json
from pathlib import Path

import numpy as np
import pycocotools.mask as rle
import pytest
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import coco, find_reader, read_export
from mmseg_semi.preparing.annotations.drawing import draw_regions

DATA = Path(__file__).parent / 'exports'
WIDTH, HEIGHT = 16, 12


def mask_of(export, name: str, size=(WIDTH, HEIGHT)) -> np.ndarray:
    (image,) = (image for image in export.images if image.name.endswith(name))
    indices = {label: index for index, label in enumerate(export.classes, 1)}
    return draw_regions(image, size, indices, 0)[0]


def overlap_of_datumaro() -> np.ndarray:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[2:8, 2:10], expected[4:10, 6:12] = 1, 2
    return expected


@pytest.mark.parametrize('folder', ['datumaro_coco', 'datumaro_coco_masks'])
def test_an_export_of_datumaro(folder):
    export = read_export(DATA / folder)
    assert export.format == 'COCO' and export.classes == ['leaf', 'stone']
    states = {image.name: image.annotated for image in export.images}
    assert states == {'nothing.png': False, 'overlap.png': True, 'painted.png': True}
    assert all(Image.open(image.path).size == image.size for image in export.images)
    assert np.array_equal(mask_of(export, 'overlap.png'), overlap_of_datumaro())
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    painted[1:5, 3:9] = 2
    assert np.array_equal(mask_of(export, 'painted.png'), painted)


def test_what_datumaro_marks_as_crowds_is_painted_masks():
    """It writes iscrowd 1 for each mask; the option says what they are."""
    export = read_export(DATA / 'datumaro_coco_masks')
    assert export.counts[coco.MASKS] == 3 and coco.CROWDS not in +export.counts
    export = read_export(DATA / 'datumaro_coco_masks', crowd='ignore')
    assert export.counts[coco.CROWDS] == 3
    assert set(np.unique(mask_of(export, 'overlap.png'))) == {0, 255}


class Coco:
    """A COCO file in a folder, with images."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content = dict(
            info=dict(version='3.1'),
            categories=[dict(id=70, name='stone'), dict(id=3, name='leaf')],
            images=[],
            annotations=[],
        )

    def image(self, name: str, number: int, file: str | None = None) -> None:
        self.content['images'].append(dict(id=number, file_name=name, width=WIDTH, height=HEIGHT))
        path = self.root / (file or f'images/{name}')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), number, np.uint8)).save(path)

    def annotate(self, image: int, segmentation, category: int = 3, **more) -> None:
        number = len(self.content['annotations']) + 1
        entry = dict(id=number, image_id=image, category_id=category, segmentation=segmentation)
        self.content['annotations'].append({**entry, 'iscrowd': 0, **more})

    def write(self, name: str = 'annotations/a.json') -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(self.content))
        return path


@pytest.fixture
def made(tmp_path):
    made = Coco(tmp_path)
    for number, name in enumerate(('a.png', 'b.png', 'c.png'), 1):
        made.image(name, number)
    return made


def square(left: int, top: int, side: int) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def test_both_kinds_of_rle_as_pycocotools_reads_them(made):
    rng = np.random.default_rng(0)
    masks = [rng.random((HEIGHT, WIDTH)) < 0.3 for _ in range(2)]
    packed = rle.encode(np.asfortranarray(masks[0].astype(np.uint8)))
    made.annotate(1, dict(size=packed['size'], counts=packed['counts'].decode()))
    flat = masks[1].ravel(order='F').astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    runs = runs if not flat[0] else [0, *runs]
    made.annotate(2, dict(size=[HEIGHT, WIDTH], counts=runs), category=70)
    export = read_export(made.write())
    assert export.classes == ['leaf', 'stone'] and export.version == '3.1'
    assert np.array_equal(mask_of(export, 'a.png'), masks[0] * 1)
    assert np.array_equal(mask_of(export, 'b.png'), masks[1] * 2)


def test_two_rings_are_a_union_and_the_later_annotation_is_on_top(made):
    made.annotate(1, [square(0, 0, 8), square(2, 2, 3)])
    made.annotate(1, [square(6, 6, 4)], category=70)
    mask = mask_of(read_export(made.write()), 'a.png')
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[:8, :8], expected[6:10, 6:10] = 1, 2
    assert np.array_equal(mask, expected)


def test_without_sizes_of_images_that_of_an_rle_counts(made):
    for entry in made.content['images']:
        del entry['width'], entry['height']
    made.annotate(1, dict(size=[3, 2], counts=[0, 6]))
    assert read_export(made.write()).images[0].size == (2, 3)
    made.annotate(1, dict(size=[4, 2], counts=[0, 8]))
    with pytest.raises(SetupError, match='is an RLE of 2 x 4 pixels, but its image a.png is 2 x 3'):
        read_export(made.write())


def test_rare_crowds_are_ignored_below_all_objects(made):
    for _ in range(10):
        made.annotate(1, [square(0, 0, 4)])
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[:, :8] = 1
    packed = rle.encode(np.asfortranarray(crowd))
    packed['counts'] = packed['counts'].decode()
    made.annotate(1, packed, iscrowd=1)
    export = read_export(made.write())
    expected = crowd * 255
    expected[:4, :4] = 1
    assert np.array_equal(mask_of(export, 'a.png'), expected) and export.counts[coco.CROWDS] == 1
    export = read_export(made.write(), crowd='class')
    assert np.array_equal(mask_of(export, 'a.png'), crowd) and export.counts[coco.MASKS] == 1


def test_boxes_alone_leave_an_image_unlabelled(made):
    made.annotate(1, [], bbox=[0, 0, 4, 4])
    made.annotate(2, [square(0, 0, 4)])
    export = read_export(made.write())
    assert [image.annotated for image in export.images] == [False, True, False]
    assert export.counts[coco.BOXES] == 1


@pytest.mark.parametrize('name', [r'D:\photos\day\x.png', '/mnt/photos/x.png', 'elsewhere/x.png'])
def test_names_with_folders_of_other_machines(made, name):
    made.image(name, 4, 'images/day/x.png')
    export = read_export(made.write('a.json'))
    (image,) = (image for image in export.images if image.name.endswith('x.png'))
    assert image.path == made.root / 'images/day/x.png'


def test_parts_are_merged_and_names_may_repeat(made, tmp_path):
    other = Coco(tmp_path)
    made.annotate(1, [square(0, 0, 4)])
    made.write('annotations/instances_train.json')
    other.image('a.png', 1, 'images/val/a.png')
    other.annotate(1, [square(0, 0, 2)], category=70)
    other.write('annotations/instances_val.json')
    export = read_export(tmp_path)
    assert [(image.name, image.part, image.annotated) for image in export.images] == [
        ('a.png', 'train', True),
        ('a.png', 'val', True),
        ('b.png', 'train', False),
        ('c.png', 'train', False),
    ]
    assert {str(image.path.relative_to(tmp_path)) for image in export.images[:2]} == {
        'images/a.png',
        'images/val/a.png',
    }


def test_a_file_in_the_folder_of_each_part(tmp_path):
    for part in ('train', 'valid', 'test'):
        made = Coco(tmp_path)
        made.image('x.jpg', 1, f'{part}/x.jpg')
        made.annotate(1, [square(0, 0, 4)])
        made.write(f'{part}/_annotations.coco.json')
    export = read_export(tmp_path)
    assert sorted((i.part, i.path.parent.name) for i in export.images) == [
        ('test', 'test'),
        ('train', 'train'),
        ('val', 'valid'),
    ]


def disagreeing_categories(made: Coco) -> None:
    made.write('annotations/one.json')
    made.content['categories'][1]['name'] = 'moss'
    made.content['images'] = [dict(id=9, file_name='z.png')]
    made.write('annotations/two.json')


def disagreeing_images(made: Coco) -> None:
    made.annotate(1, [square(0, 0, 4)])
    made.write('annotations/one.json')
    made.write('annotations/two.json')


def change(**keys):
    def apply(made: Coco) -> None:
        made.annotate(1, [square(0, 0, 4)])
        for key, value in keys.items():
            made.content['annotations'][0][key] = value
        made.write()

    return apply


def replace(key: str, value):
    def apply(made: Coco) -> None:
        made.content[key] = value
        made.write()

    return apply


MISTAKES = [
    (
        disagreeing_categories,
        r"files \S+one.json and \S+two.json disagree about the category 3: it is 'leaf' in one and "
        "'moss' in the other",
    ),
    (
        disagreeing_images,
        r'one.json and \S+two.json disagree about the image a.png: both have annotations of it',
    ),
    (
        change(segmentation=dict(size=[6, 8], counts=[48])),
        r'annotation 1 of \S+a.json is an RLE of 8 x 6 pixels, but its image a.png is 16 x 12',
    ),
    (
        change(segmentation=dict(size=[12, 16], counts=[48])),
        'is an RLE of 48 pixels, but its size is 16 x 12',
    ),
    (change(segmentation=dict(size=[12], counts=[12])), 'is an RLE of the size .12., expected'),
    (
        change(category_id=4),
        r'has the category 4, which the list of categories lacks \(3: leaf, 70: stone\)',
    ),
    (change(image_id=12), 'belongs to the image 12, which the file does not have'),
    (change(segmentation=[['a', 'b']]), 'has a polygon that is no list of x, y'),
    (change(segmentation='x'), "has the segmentation 'x', expected polygons or RLE"),
    (replace('images', []), 'names no image'),
    (replace('annotations', None), "has no 'annotations', which its format requires"),
    (replace('categories', [dict(id=1)]), "the category 1 of .* has no 'name'"),
    (replace('images', [dict(id=1, file_name='a.png')] * 2), 'has two images with the id 1'),
    (replace('images', [3]), 'has 3 among its images, expected objects'),
]


@pytest.mark.parametrize(('damage', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence(made, damage, sentence):
    damage(made)
    with pytest.raises(SetupError, match=sentence) as caught:
        coco.read(made.root, None)
    assert '\n' not in str(caught.value)


def test_files_of_no_known_tool_are_told_what_was_looked_for(tmp_path):
    for name, text in {'a.json': '{"a": 1}', 'b.txt': 'x', 'c.json': '[1, 2]'}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(
            SetupError, match=r'no export that is known, looked for were: .*COCO .*'
        ):
            find_reader(tmp_path / name)
    with pytest.raises(SetupError, match='labelme .*; VOC folders'):
        find_reader(tmp_path)
    (tmp_path / 'd.json').touch()
    with pytest.raises(SetupError, match='d.json is an empty file'):
        find_reader(tmp_path / 'd.json')
    with pytest.raises(SetupError, match='gone does not exist'):
        find_reader(tmp_path / 'gone')
    (tmp_path / 'e.json').write_text('{"images": [], "annotations": [')
    with pytest.raises(SetupError, match='e.json is no complete JSON'):
        read_export(tmp_path / 'e.json')
    with pytest.raises(SetupError, match='--line-width has no meaning for this export .COCO'):
        read_export(tmp_path / 'e.json', line_width=3.0)
