"""Plain folders of images and masks, and descriptions of own data."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mmseg_semi.data.mask_map import MaskMap
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import masks, read_export


def save(path: Path, pixels, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ('a.jpg', 'sub/b.png', 'c.png'):
        save(tmp_path / 'images' / name, np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / 'masks/a.png', np.uint8([[0, 1, 7], [255, 1, 1]]))
    save(tmp_path / 'masks/sub/b_mask.png', np.uint8([[0, 0, 0], [0, 0, 0]]))
    return tmp_path


def test_values_are_the_classes(folder):
    export = read_export(folder)
    assert {image.name: image.annotated for image in export.images} == {
        'a.jpg': True,
        'c.png': False,
        'sub/b.png': True,
    }
    assert export.mask_values == {'0': 0, '1': 1, '7': 7} and export.ignore_values == [255]
    assert export.unmarked_class is None


def test_folders_of_other_names(folder, tmp_path):
    (folder / 'masks').rename(folder / 'drawn')
    (folder / 'images').rename(folder / 'frames')
    export = read_export(folder / 'drawn', folder / 'frames', 'masks')
    assert len(export.images) == 3 and export.source == folder / 'drawn'


def test_masks_beside_their_images(tmp_path):
    for name in ('a.jpg', 'b.jpg'):
        save(tmp_path / name, np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / 'a_mask.png', np.uint8([[0, 1, 1]] * 2))
    export = read_export(tmp_path, tmp_path, 'masks')
    assert {image.name: image.annotated for image in export.images} == {
        'a.jpg': True,
        'b.jpg': False,
    }


def test_binary_masks_of_0_and_255(folder):
    save(folder / 'masks/a.png', np.uint8([[0, 255, 255]] * 2))
    export = read_export(folder)
    assert export.mask_values == dict(background=0, foreground=255)
    assert export.counts[masks.BINARY] == 1 and export.unmarked_class == 'background'
    mask = MaskMap(export.mask_values, export.ignore_values).read(str(folder / 'masks/a.png'))
    assert mask.tolist() == [[0, 1, 1]] * 2


def test_colours_and_grey_levels_in_three_channels(folder):
    save(folder / 'masks/a.png', np.uint8([[[1, 1, 1], [9, 9, 9], [0, 0, 0]]] * 2))
    assert read_export(folder).mask_values == {'0': 0, '1': 1, '9': 9}
    save(folder / 'masks/a.png', np.uint8([[[255, 0, 0], [9, 9, 9], [0, 0, 0]]] * 2))
    colours = {name: name for name in ('#000000', '#090909', '#ff0000')}
    assert read_export(folder).mask_values == colours


def test_16_bits_and_fractions(folder):
    save(folder / 'masks/a.png', np.uint16([[0, 1, 70]] * 2))
    assert read_export(folder).mask_values == {'0': 0, '1': 1, '70': 70}
    (folder / 'masks/a.png').unlink()
    save(folder / 'masks/a.tif', np.float32([[0.5, 1, 70]] * 2))
    with pytest.raises(SetupError, match='a.tif holds 0.5 to 70, expected whole numbers'):
        read_export(folder)


def test_a_description_is_read_as_training_reads_it(folder):
    content = dict(
        labeled=dict(images='images', masks='masks', mask_suffix='_m'),
        unlabeled='images',
        classes=dict(sky=[0, '5-9'], tree=1),
        ignore=[255, 4],
        palette=dict(sky='#0000ff', tree='#00ff00'),
    )
    (folder / 'masks/a.png').rename(folder / 'masks/a_m.png')
    (folder / 'masks/sub/b_mask.png').rename(folder / 'masks/sub/b_m.png')
    (folder / 'data.yaml').write_text(yaml.safe_dump(content))
    for path in (folder, folder / 'data.yaml'):
        export = read_export(path)
        assert export.mask_values == dict(sky=[0, '5-9'], tree=1)
        assert export.ignore_values == [255, 4]
        assert export.colours == dict(sky='#0000ff', tree='#00ff00')
        assert [image.annotated for image in export.images] == [True, False, True]


def jpeg_masks(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    save(folder / 'masks/a.png', noise)


MISTAKES = [
    (jpeg_masks, r'hold more than 254 colours, read up to \S+a.png .JPEG changes them'),
    (
        lambda folder: save(folder / 'masks/a_mask.png', np.uint8([[0]])),
        r'a.png and \S+a_mask.png are both masks of the image a.jpg',
    ),
    (
        lambda folder: [p.rename(p.with_stem('other')) for p in (folder / 'masks').rglob('*.png')],
        r'no mask in \S+masks has the name of an image in \S+images .such as a.png or a_mask.png',
    ),
    (
        lambda folder: [p.unlink() for p in (folder / 'images').rglob('*.*')],
        r'has no folders of images and masks, looked for were images, imgs, photos and masks',
    ),
]


@pytest.mark.parametrize(('damage', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(SetupError, match=sentence) as caught:
        masks.read(folder, None)
    assert '\n' not in str(caught.value)


def test_empty_folders(folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SetupError, match='the folder .*empty holds no image; name the folder'):
        read_export(folder / 'masks', tmp_path / 'empty', 'masks')
    with pytest.raises(SetupError, match='the folder .*empty holds no mask; name the folder'):
        read_export(tmp_path / 'empty', folder / 'images', 'masks')
    with pytest.raises(SetupError, match='--images .*gone is no folder'):
        read_export(folder, tmp_path / 'gone')
