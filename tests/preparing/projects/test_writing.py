"""The files of a project folder, and settings by data and machine."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.transforms import LoadAnyImage, LoadAnyLabels
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import AnnotatedImage, Export, Region
from mmseg_semi.preparing.projects import (
    Classes,
    Machine,
    Parts,
    choose_classes,
    choose_settings,
    write_project,
    writing,
)
from mmseg_semi.preparing.projects.config_files import config_text
from mmseg_semi.preparing.projects.settings import GIB

RING = np.array([(0, 0), (4, 0), (4, 2), (0, 2)], float)
CLASSES = Classes(('background', 'leaf'), dict(leaf=1), 0, ('#000000', '#00ff00'), '')


def region() -> Region:
    return Region('leaf', (RING,))


def export_of(*images: AnnotatedImage, **more) -> Export:
    return Export('X', Path('x.json'), ['leaf'], [*images], '', ('background', ''), **more)


def save(path: Path, size=(8, 6), orientation: int | None = None, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    pixels[:2, :4] = 200  # where the region is
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def write(folder: Path, train, unlabeled=(), **options):
    parts = Parts(train=list(train), unlabeled=list(unlabeled))
    return write_project(folder, export_of(*train), CLASSES, parts, **options)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('told', ['shown', 'stored', None])
def test_masks_lie_on_images_as_training_loads_them(tmp_path, orientation, told):
    """Whatever the EXIF orientation is and whether the tool obeyed it: the annotated pixels are the bright ones."""
    path = save(tmp_path / 'in/a.png', orientation=orientation)
    turned = LoadAnyImage().transform(dict(img_path=str(path)))['img'][..., 0]
    height, width = turned.shape
    ring, size = RING, (8, 6)
    if told != 'stored' or orientation in (2, 3, 4):
        # the tool shows the image turned, or the size cannot tell: the region as a person draws it there
        rows, columns = np.nonzero(turned == 200)
        left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
        size = None if told is None else (width, height)
    image = AnnotatedImage('a.png', path, size, [Region('leaf', (ring,))])
    written = write(tmp_path / 'out', [image])
    sample = dict(img_path=str(tmp_path / 'out/images/train/a.png'))
    sample['seg_map_path'] = str(tmp_path / 'out/masks/train/a.png')
    sample |= dict(mask_map=OwnData(tmp_path / 'out/data.yaml').mask_map, seg_fields=[])
    sample = LoadAnyLabels().transform(LoadAnyImage().transform(sample))
    assert np.array_equal(sample['gt_seg_map'] == 1, sample['img'][..., 0] == 200)
    counted = written.counts[writing.SHOWN] + written.counts[writing.TURNED]
    assert counted == (orientation != 1)
    assert written.counts[writing.TURNED] == (told == 'stored' and orientation >= 5)


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
@pytest.mark.parametrize('told', ['shown', 'stored'])
def test_finished_masks_are_turned_alike(tmp_path, orientation, told):
    path = save(tmp_path / 'a.png', orientation=orientation)
    turned = LoadAnyImage().transform(dict(img_path=str(path)))['img'][..., 0] == 200
    mask = np.zeros((6, 8), bool)
    mask[:2, :4] = True
    stored = told == 'stored' and orientation != 3
    Image.fromarray((mask if stored else turned).astype(np.uint8)).save(tmp_path / 'm.png')
    image = AnnotatedImage('a.png', path, mask=tmp_path / 'm.png')
    export = export_of(image, mask_values=dict(background=0, leaf=1))
    classes = choose_classes(export)
    write_project(tmp_path / 'out', export, classes, Parts(train=[image]))
    found = np.array(Image.open(tmp_path / 'out/masks/train/a.png'))
    assert np.array_equal(found == 1, turned)


def test_another_size_than_the_export_says(tmp_path):
    image = AnnotatedImage('a.png', save(tmp_path / 'a.png'), (9, 6), [region()])
    with pytest.raises(SetupError, match=r'image a.png is 8 x 6 pixels, but the export says 9 x 6'):
        write(tmp_path / 'out', [image])
    mask = tmp_path / 'm.png'
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(mask)
    image = AnnotatedImage('a.png', tmp_path / 'a.png', mask=mask)
    export = export_of(image, mask_values=dict(background=0, leaf=1))
    with pytest.raises(SetupError, match=r'is 8 x 6 pixels, but its mask \S+m.png is 7 x 6'):
        write_project(tmp_path / 'out', export, CLASSES, Parts(train=[image]))


def test_links_and_names_that_collide(tmp_path):
    paths = [
        save(tmp_path / 'in' / name, value=i)
        for i, name in enumerate(('a.png', 'a.jpg', 'b/a.png'))
    ]
    images = [
        AnnotatedImage('../x/a.png', paths[0], None, [region()]),
        AnnotatedImage('x/A.jpg', paths[1], None, [region()]),
        AnnotatedImage('.hidden/a.png', paths[2], None, [region()]),
    ]
    write(tmp_path / 'out', images, [('u.png', paths[0]), ('u.jpg', paths[1])])
    own = OwnData(tmp_path / 'out/data.yaml')
    assert len(own.files('labeled')) == 3
    links = {
        p.relative_to(tmp_path / 'out').as_posix(): p.resolve()
        for p in (tmp_path / 'out').rglob('*.*g')
        if p.is_symlink()
    }
    assert links == {
        'images/train/x/a.png': paths[0],
        'images/train/x/A-2.jpg': paths[1],
        'images/train/hidden/a.png': paths[2],
        'unlabeled/u.png': paths[0],
        'unlabeled/u-2.jpg': paths[1],
    }
    assert len(own.files('unlabeled')) == 2


def test_copies_where_links_are_impossible_or_unwanted(tmp_path, monkeypatch):
    path = save(tmp_path / 'in/a.png')
    image = AnnotatedImage('a.png', path, None, [region()])
    assert not write(tmp_path / 'copy', [image], copy=True).counts[writing.COPIED]
    copied = tmp_path / 'copy/images/train/a.png'
    assert not copied.is_symlink() and not os.path.samefile(copied, path)

    def refuse(*_, **__):
        raise OSError('no links here')

    monkeypatch.setattr(Path, 'symlink_to', refuse)
    write(tmp_path / 'hard', [image])
    assert os.path.samefile(tmp_path / 'hard/images/train/a.png', path)
    monkeypatch.setattr(os, 'link', refuse)
    assert write(tmp_path / 'none', [image]).counts[writing.COPIED] == 1
    assert (tmp_path / 'none/images/train/a.png').read_bytes() == path.read_bytes()


def test_an_image_that_the_export_carries(tmp_path):
    content = io.BytesIO()
    Image.new('RGB', (8, 6), (1, 2, 3)).save(content, 'PNG')
    image = AnnotatedImage('a.jpg', None, (8, 6), [region()], content=content.getvalue)
    write(tmp_path / 'out', [image])
    with Image.open(tmp_path / 'out/images/train/a.jpg') as found:
        assert found.size == (8, 6) and found.getpixel((0, 0)) == (1, 2, 3)


def test_pixels_are_counted(tmp_path):
    images = [
        AnnotatedImage(
            f'{i}.png', save(tmp_path / f'in/{i}.png', value=i), None, [region()] * (i < 2)
        )
        for i in range(3)
    ]
    written = write(tmp_path / 'out', images)
    assert written.pixels['train'][:2].tolist() == [3 * 48 - 16, 16]
    assert written.images_with['train'][:2].tolist() == [3, 2] and written.sizes == [(8, 6)] * 3


def test_the_description(tmp_path):
    image = AnnotatedImage('a.png', save(tmp_path / 'a.png'), None, [region()])
    parts = Parts(train=[image], val=[image], test=[image], unlabeled=[('u.png', image.path)])
    write_project(tmp_path / 'out', export_of(image), CLASSES, parts)
    content = yaml.safe_load((tmp_path / 'out/data.yaml').read_text())
    assert content == dict(
        labeled=dict(images='images/train', masks='masks/train'),
        val=dict(images='images/val', masks='masks/val'),
        test=dict(images='images/test', masks='masks/test'),
        unlabeled='unlabeled',
        classes=['background', 'leaf'],
        palette=dict(background='#000000', leaf='#00ff00'),
    )
    own = OwnData(tmp_path / 'out/data.yaml')
    assert own.palette == [[0, 0, 0], [0, 255, 0]]
    assert [len(own.files(p)) for p in ('labeled', 'val', 'test', 'unlabeled')] == [1] * 4


def test_a_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(RuntimeError), writing.new_folder(tmp_path / 'out') as folder:
        (folder / 'file').touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    (tmp_path / 'out').mkdir()  # an empty folder is taken
    with writing.new_folder(tmp_path / 'out') as folder:
        (folder / 'file').touch()
    assert [path.name for path in tmp_path.rglob('*')] == ['out', 'file']
    with pytest.raises(SetupError, match='project folder .*out exists and is not empty; give'):
        with writing.new_folder(tmp_path / 'out'):
            raise AssertionError


# -- settings ------------------------------------------------------------------------------------------


def settings(side: int = 640, labelled: int = 12, memory: float = 0, **options):
    machine = Machine('a GPU' if memory else None, int(memory * GIB), 2)
    return choose_settings([(side, side // 2)] * 3, labelled, machine, **options)


@pytest.mark.parametrize(
    ('chosen', 'expected'),
    [
        (settings(), ('fixmatch_lite0', 257, 161, 600, 4)),
        (settings(labelled=46), ('fixmatch_lite0', 257, 161, 1200, 4)),
        (settings(side=130), ('fixmatch_lite0', 129, 81, 600, 4)),
        (settings(frame_size=385), ('fixmatch_lite0', 385, 241, 600, 4)),
        (settings(iterations=80), ('fixmatch_lite0', 257, 161, 80, 4)),
        (settings(memory=3), ('fixmatch_lite0', 257, 161, 600, 4)),
        (settings(memory=4.5), ('ddfp', 641, 321, 10000, 2)),
        (settings(memory=7), ('ddfp', 641, 513, 10000, 2)),
        (settings(memory=80, labelled=60), ('ddfp', 641, 513, 20000, 4)),
        (settings(memory=80, side=4000), ('ddfp', 1025, 513, 10000, 4)),
        (settings(memory=80, side=300), ('ddfp', 305, 305, 10000, 4)),
    ],
)
def test_settings_by_images_labels_and_memory(chosen, expected):
    name = chosen.base.removeprefix('own_data/').removesuffix('.py')
    found = (name, chosen.frame_size, chosen.crop_size, chosen.iterations, chosen.batch_size)
    assert found == expected
    assert all(value and why for _, value, why in chosen.reasons)


def test_many_validation_images_validate_less_often():
    found = [settings(validating=number).validations for number in (1, 100, 101, 1000, 5000)]
    assert found == [8, 8, 4, 4, 2]


def test_names_that_yaml_reads_as_other_things(tmp_path):
    names = ('no', '1', 'a: b', '#ff0000', 'Bäume', '~')
    image = AnnotatedImage('a.png', save(tmp_path / 'a.png'), None, [Region('no', (RING,))])
    export = export_of(image)
    export.classes = [*names]
    classes = choose_classes(export)
    write_project(tmp_path / 'out', export, classes, Parts(train=[image]))
    own = OwnData(tmp_path / 'out/data.yaml')
    assert own.mask_map.names == ('background', *names)
    assert own.palette[1] == [128, 0, 0]


def test_settings_that_cannot_be():
    with pytest.raises(SetupError, match='--frame-size 8: expected at least 33 pixels'):
        settings(frame_size=8)
    with pytest.raises(SetupError, match='--iterations 2: expected at least 8'):
        settings(iterations=2)


def test_names_in_the_config_cannot_break_it():
    text = config_text(settings(), 3, False, False, "a\nimport os  # '''")
    assert '\nimport os' not in text


def test_choose_classes_is_what_the_masks_hold(tmp_path):
    """A class that is ignored, in regions and in finished masks."""
    image = AnnotatedImage('a.png', save(tmp_path / 'a.png'), None, [region()])
    image.regions.append(Region('stone', (RING + (0, 3),)))
    export = export_of(image)
    export.classes.append('stone')
    classes = choose_classes(export, ['leaf', 'ignore=stone'])
    write_project(tmp_path / 'out', export, classes, Parts(train=[image]))
    mask = np.array(Image.open(tmp_path / 'out/masks/train/a.png'))
    assert (mask[:2, :4] == 1).all() and (mask[3:5, :4] == 255).all() and (mask == 0).sum() == 32
