"""``docs/annotation_tools_more.md``: its commands as they stand on the page, on one scene that each tool exports in its way."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from four_commands import to_overlays
from PIL import Image
from whole_runs import ROOT

from mmseg_semi import cli

PAGE = ROOT / 'docs/annotation_tools_more.md'
NAMES = ['leaf', 'stone']
WIDTH, HEIGHT = 48, 32
BOXES = [  # class, left, top, right, bottom; the second one lies on the first, in all but the last two images
    [(0, 4 + i, 4, 30 + i, 24), (1, 8, 8 + i, 20, 16 + i)] if i < 5 else [] for i in range(7)
]
FILES = [f'p{i}.png' for i in range(len(BOXES))]


def commands() -> list[list[str]]:
    blocks = re.findall(r'^```bash\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith('mmseg-semi init')]


def corners(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def write_photos(folder: Path, suffix='.png') -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, boxes in zip(FILES, BOXES, strict=True):
        pixels = rng.integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
        for index, left, top, right, bottom in boxes:
            pixels[top:bottom, left:right, index] += 150
        Image.fromarray(pixels).save(folder / name.replace('.png', suffix))


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_cvat(root: Path) -> None:
    shape = '<box label="{}" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"/>'
    lines = [f'<label><name>{name}</name></label>' for name in NAMES]
    lines = ['<annotations><version>1.1</version><meta><labels>', *lines, '</labels></meta>']
    for number, (name, boxes) in enumerate(zip(FILES, BOXES, strict=True)):
        shapes = ''.join(shape.format(NAMES[index], *box) for index, *box in boxes)
        lines.append(
            f'<image id="{number}" name="{name}" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
        )
    root.mkdir()
    (root / 'annotations.xml').write_text('\n'.join([*lines, '</annotations>']))


def write_label_studio(path: Path) -> None:
    def result(number, index, *box):
        points = [[x * 100 / WIDTH, y * 100 / HEIGHT] for x, y in corners(*box)]
        value = dict(points=points, polygonlabels=[NAMES[index]])
        size = dict(original_width=WIDTH, original_height=HEIGHT)
        return dict(id=str(number), type='polygonlabels', value=value, image_rotation=0, **size)

    def task(number, name, boxes):
        results = [result(place, *box) for place, box in enumerate(boxes)]
        done = [dict(id=number, completed_by=1, was_cancelled=False, result=results)]
        data = dict(image=f'/data/upload/1/0a1b2c3d-{name}')
        return dict(id=number, annotations=done if boxes else [], data=data)

    write_json(path, [task(i, *pair) for i, pair in enumerate(zip(FILES, BOXES, strict=True))])


def write_supervisely(root: Path) -> None:
    def figure(index, left, top, right, bottom):
        points = dict(exterior=[[left, top], [right - 1, bottom - 1]], interior=[])
        return dict(classTitle=NAMES[index], geometryType='rectangle', points=points)

    classes = [dict(title=name, shape='any', color='#00ff00') for name in NAMES]
    write_json(root / 'meta.json', dict(classes=classes, tags=[]))
    write_photos(root / 'day/img')
    for name, boxes in zip(FILES, BOXES, strict=True):
        content = dict(size=dict(width=WIDTH, height=HEIGHT), objects=[figure(*b) for b in boxes])
        write_json(root / f'day/ann/{name}.json', content)


def write_yolo(root: Path) -> None:
    write_photos(root / 'images/train')
    (root / 'labels/train').mkdir(parents=True)
    (root / 'data.yaml').write_text(f'train: images/train\nnames: {NAMES}\n')
    for name, boxes in zip(FILES, BOXES, strict=True):
        shares = [np.divide(corners(*box), (WIDTH, HEIGHT)).ravel() for _, *box in boxes]
        lines = [
            ' '.join([str(index), *(f'{value:.6f}' for value in row)])
            for (index, *_), row in zip(boxes, shares, strict=True)
        ]
        if boxes:
            (root / f'labels/train/{name[:-4]}.txt').write_text('\n'.join(lines))


def write_datumaro(root: Path) -> None:
    def shape(index, left, top, right, bottom):
        box = [left, top, right - left, bottom - top]
        return dict(type='bbox', label_id=index, bbox=box, z_order=0)

    def item(name, boxes):
        image = dict(path=name, size=[HEIGHT, WIDTH])
        return dict(id=name[:-4], annotations=[shape(*box) for box in boxes], image=image)

    labels = [dict(name=name, parent='') for name in NAMES]
    items = [item(*pair) for pair in zip(FILES, BOXES, strict=True)]
    content = dict(dm_format_version='1.0', categories=dict(label=dict(labels=labels)), items=items)
    write_json(root / 'annotations/default.json', content)
    write_photos(root / 'images/default')


def write_cityscapes(root: Path) -> None:
    write_photos(root.parent / 'leftImg8bit/train/bonn', '_leftImg8bit.png')
    for name, boxes in zip(FILES, BOXES, strict=True):
        objects = [
            dict(label=NAMES[index], polygon=corners(left, top, right - 1, bottom - 1))
            for index, left, top, right, bottom in boxes
        ]
        content = dict(imgWidth=WIDTH, imgHeight=HEIGHT, objects=objects)
        if boxes:
            write_json(root / f'train/bonn/{name[:-4]}_gtFine_polygons.json', content)


def truth(boxes) -> np.ndarray:
    """-1 where nothing is, else the place of the class in ``NAMES``."""
    mask = np.full((HEIGHT, WIDTH), -1)
    for index, left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = index
    return mask


@pytest.fixture
def exports(tmp_path, monkeypatch) -> Path:
    write_photos(tmp_path / 'photos')
    write_cvat(tmp_path / 'cvat_export')
    write_label_studio(tmp_path / 'project-1-at-2026-11-28.json')
    write_supervisely(tmp_path / 'project_folder')
    write_yolo(tmp_path / 'yolo_export')
    write_datumaro(tmp_path / 'datumaro_export')
    write_cityscapes(tmp_path / 'gtFine')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmseg-semi'])
    return tmp_path


def test_every_init_of_the_page_makes_the_masks_of_the_scene(exports):
    found = commands()
    assert len(found) == 6
    for arguments in found:
        assert cli.main(arguments) == 0
        folder = exports / arguments[arguments.index('--out') + 1]
        classes = list(yaml.safe_load((folder / 'data.yaml').read_text())['classes'])
        unmarked = 255 if 'gtFine' in arguments else classes.index('background')
        table = np.array([*map(classes.index, NAMES), unmarked])  # -1 is the last
        masks = {path.name: path for path in (folder / 'masks').rglob('*.png')}
        assert len(masks) == 5, arguments
        for name, path in masks.items():
            boxes = BOXES[int(re.search(r'p(\d)', name)[1])]
            assert np.array_equal(np.asarray(Image.open(path)), table[truth(boxes)]), path
        assert len([*(folder / 'unlabeled').rglob('*.png')]) == 2, arguments


@pytest.mark.parametrize('arguments', commands(), ids=lambda arguments: arguments[-1])
def test_four_commands_from_the_export_of_each_tool_to_overlays(exports, arguments):
    assert cli.main(arguments) == 0
    overlays = to_overlays(exports / arguments[arguments.index('--out') + 1], exports / 'photos')
    assert [path.stem for path in overlays] == [name[:-4] for name in FILES]
