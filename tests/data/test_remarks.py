"""What training would take without a word: own data whose masks, names or images are not what they seem."""

import io
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.data.decoding import read_mask
from mmseg_semi.data.decoding.jpeg import jpeg_damage
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.remarks import MaskFacts, remarks_on_images, remarks_on_masks
from mmseg_semi.errors import SetupError


def photo(seed: int, size=(40, 60)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def save(path, array, **options) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return str(path)


def facts(tmp_path, masks) -> list[MaskFacts]:
    return [MaskFacts.of(save(tmp_path / f'{i}.png', m), m) for i, m in enumerate(masks)]


def mask(*values, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.uint8(values), (20, 30))


def texts(remarks) -> str:
    return ' | '.join(('ERROR ' if r.is_error else '') + r.text for r in remarks)


# --------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    ('values', 'classes', 'sentence'),
    [
        (
            (0, 0, 0, 255),
            ['a', 'b'],
            r"ERROR none of 4 .*'b' \(index 1\), and 255, .*classes: \{a: 0, b: 255\}",
        ),
        (
            (0,),
            ['a', 'b', 'c'],
            r"ERROR none of 4 labelled masks shows the classes 'b' \(index 1\), 'c'",
        ),
        (
            (1, 2),
            ['a', 'b', 'c'],
            r"^none of 4 .*'a' \(index 0\); if the labels begin at 1, .*\{a: 1, b: 2, c: 3\}",
        ),
        ((0, 1), ['a', 'b', 'c'], r"^none of 4 .*'c' \(index 2\); nothing can be learned"),
        (
            (0, 1, 255, 255, 255),
            ['a', 'b'],
            r'^255, which is ignored, covers (59|6\d)% of the pixels of 4',
        ),
    ],
)
def test_masks_that_do_not_show_the_classes(tmp_path, values, classes, sentence):
    import re

    masks = facts(tmp_path, [mask(*values, seed=i) for i in range(4)])
    found = texts(remarks_on_masks(masks, classes, 'labelled', 'data.yaml'))
    assert re.search(sentence, found), found
    # data sets of lists are warned of the same and not refused
    assert not any(r.is_error for r in remarks_on_masks(masks, classes, 'labelled'))


def test_sound_masks_have_no_remark(tmp_path):
    masks = facts(tmp_path, [mask(0, 1, 2, 255, 1, 0, seed=i) for i in range(6)])
    assert remarks_on_masks(masks, ['a', 'b', 'c'], 'labelled', 'data.yaml') == []


def test_a_class_that_validation_lacks(tmp_path):
    masks = facts(tmp_path, [mask(0, 1)])
    found = texts(remarks_on_masks(masks, ['a', 'b', 'c'], 'validation', 'data.yaml'))
    assert "'c' (index 2); its IoU is nan, and a mean over classes is one over 2 of 3" in found


def test_masks_of_one_value_and_masks_that_repeat(tmp_path):
    whole = facts(tmp_path, [np.full((20, 30), i % 2, np.uint8) for i in range(4)])
    assert 'each of the 4 labelled masks shows one class alone' in texts(
        remarks_on_masks(whole, ['a', 'b'], 'labelled', 'd')
    )
    same = facts(tmp_path, [mask(0, 1, seed=i if i > 3 else 0) for i in range(8)])
    assert '4 of 8 labelled masks are the same' in texts(
        remarks_on_masks(same, ['a', 'b'], 'labelled', 'd')
    )


def palette_mask(path, labels, order) -> MaskFacts:
    """``labels`` stored by a palette whose n-th colour is that of class ``order[n]``."""
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[labels])
    picture.putpalette([v for label in order for v in colours[label]])
    picture.save(path)
    return MaskFacts.of(str(path), np.asarray(picture))


def test_palettes_in_different_orders(tmp_path):
    labels = [mask(0, 1, 2, seed=i) for i in range(3)]
    equal = [palette_mask(tmp_path / f'{i}.png', m, (0, 1, 2)) for i, m in enumerate(labels)]
    assert remarks_on_masks(equal, ['a', 'b', 'c'], 'labelled', 'd') == []
    mixed = [*equal[:2], palette_mask(tmp_path / 'x.png', labels[2], (2, 0, 1))]
    found = texts(remarks_on_masks(mixed, ['a', 'b', 'c'], 'labelled', 'd'))
    assert (
        found.startswith('ERROR the palettes of labelled masks')
        and 'x.png' in found
        and '0.png' in found
    )
    assert remarks_on_masks(mixed, ['a', 'b', 'c'], 'labelled', 'd', by_color=True) == []


def test_masks_of_several_pages_and_inverted_ones_are_refused(tmp_path):
    pages = [Image.fromarray(mask(0, 1, seed=i)) for i in range(3)]
    for name in ('m.tif', 'm.gif', 'm.png'):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(SetupError, match=rf'{name} has 3 pages, expected one'):
            read_mask(str(tmp_path / name))
    Image.fromarray(mask(0, 1).astype(bool)).save(tmp_path / 'w.tif', tiffinfo={262: 0})
    with pytest.raises(SetupError, match=r"w\.tif is stored inverted .*'white is zero'"):
        read_mask(str(tmp_path / 'w.tif'))


# -------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
def test_turned_images_of_any_format(tmp_path, suffix):
    tag = Image.Exif()
    tag[0x0112] = 3
    plain = [save(tmp_path / f'p{i}{suffix}', photo(i)) for i in range(3)]
    turned = save(tmp_path / f't{suffix}', photo(9), exif=tag)
    assert remarks_on_images(plain, []) == []
    found = texts(remarks_on_images([*plain, turned], []))
    assert found.startswith('1 of 4 labelled images are turned') and turned in found


@pytest.mark.parametrize(
    ('how', 'progressive'), [('noise', False), ('noise', True), ('zeros', False)]
)
def test_a_damaged_middle_of_a_jpeg(how, progressive, tmp_path):
    file = io.BytesIO()
    Image.fromarray(photo(0, (200, 300))).save(file, 'JPEG', quality=90, progressive=progressive)
    content = bytearray(file.getvalue())
    assert jpeg_damage(bytes(content)) is None
    middle = len(content) // 2
    noise = np.random.default_rng(0).integers(0, 256, 3000).astype(np.uint8).tobytes()
    content[middle : middle + 3000] = noise if how == 'noise' else bytes(3000)
    assert jpeg_damage(bytes(content))
    (tmp_path / 'd.jpg').write_bytes(content)
    found = texts(remarks_on_images([], [str(tmp_path / 'd.jpg')]))
    assert '1 of 1 images are damaged, the first is' in found and 'd.jpg' in found


@pytest.mark.parametrize(
    'options', [dict(quality=30), dict(quality=100, subsampling=0), dict(optimize=True)]
)
def test_sound_jpegs_are_not_called_damaged(options):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (64, 1, 3))
    for array in (photo(1, (90, 130)), np.zeros((400, 400, 3), np.uint8), ramp):
        file = io.BytesIO()
        Image.fromarray(array).save(file, 'JPEG', **options)
        assert jpeg_damage(file.getvalue()) is None
        assert jpeg_damage(file.getvalue() + bytes(500)) is None  # padding after the end


def test_predictions_and_masks_among_photographs(tmp_path):
    labelled = [save(tmp_path / f'l/{i}.png', photo(i)) for i in range(3)]
    photos = [save(tmp_path / f'u/{i}.png', photo(10 + i)) for i in range(4)]
    assert remarks_on_images(labelled, photos) == []
    predicted = [save(tmp_path / f'u/{i}_predict.png', mask(0, 255, seed=i)) for i in range(2)]
    found = texts(remarks_on_images(labelled, photos + predicted))
    assert '2 of 6 unlabelled images have the name of another' in found and "'*_predict.*'" in found
    masks = [save(tmp_path / f'u/m/{i}x.png', mask(0, 1, 7, seed=i)) for i in range(3)]
    found = texts(remarks_on_images(labelled, photos + masks))
    assert '3 of 7 unlabelled images have at most 16 levels' in found and masks[0] in found
    # where labelled images are drawings, unlabelled ones may be
    assert remarks_on_images(masks, masks) == []


# ------------------------------------------------------------------------------- names and folders


def project(tmp_path, count=3, **keys) -> OwnData:
    for i in range(count):
        save(tmp_path / f'all/photos/{i}.png', photo(i))
        save(tmp_path / f'all/masks/{i}.png', mask(0, 1, seed=i))
        save(tmp_path / f'all/val/v{i}.png', photo(20 + i))
        save(tmp_path / f'val_masks/v{i}.png', mask(0, 1, seed=i))
        save(tmp_path / f'all/new/{i}.png', photo(40 + i))
        save(tmp_path / f'all/new/{i}_predict.png', mask(0, 1, seed=i))
    content = dict(
        labeled=dict(images='all/photos', masks='all/masks'),
        unlabeled=['all'],
        val=dict(images='all/val', masks='val_masks'),
        classes=['a', 'b'],
    )
    import yaml

    (tmp_path / 'data.yaml').write_text(yaml.safe_dump(content | keys))
    return OwnData(tmp_path / 'data.yaml')


def test_what_lies_below_the_unlabelled_folder_besides(tmp_path):
    own = project(tmp_path, exclude=['*_predict.png'])
    found = [os.path.relpath(e['img_path'], tmp_path) for e in own.files('unlabeled')]
    assert found == ['all/new/0.png', 'all/new/1.png', 'all/new/2.png']
    assert sorted(own.left_out) == [
        "3 files that 'exclude' names (*_predict.png)",
        '3 images of labeled',
        '3 images of val',
        '3 masks of labeled',
    ]
    with pytest.raises(SetupError, match=r"'exclude' is 3, expected patterns"):
        project(tmp_path, exclude=3)


def test_composed_and_decomposed_names_are_one(tmp_path):
    save(tmp_path / 'i' / (unicodedata.normalize('NFC', 'Grün') + '.png'), photo(0))
    save(tmp_path / 'm' / (unicodedata.normalize('NFD', 'Grün') + '.png'), mask(0, 1))
    own = OwnData(
        dict(
            labeled=dict(images=str(tmp_path / 'i'), masks=str(tmp_path / 'm')), classes=['a', 'b']
        )
    )
    assert len(own.files('labeled')) == 1


def test_names_that_are_no_utf8_are_refused(tmp_path):
    save(tmp_path / 'i/a.png', photo(0))
    os.rename(tmp_path / 'i/a.png', os.fsencode(tmp_path / 'i') + b'/caf\xe9.png')
    own = OwnData(
        dict(
            labeled=dict(images=str(tmp_path / 'i'), masks=str(tmp_path / 'i')), classes=['a', 'b']
        )
    )
    with pytest.raises(
        SetupError, match=r'holds .*caf\\xe9\.png, a name whose bytes are not UTF-8'
    ):
        own.files('labeled')


def test_the_test_part(tmp_path):
    own = project(tmp_path)
    assert not own.has_test and own.files('test') == own.files('val')
    own = project(tmp_path, test=dict(images='all/photos', masks='all/masks'))
    assert own.has_test and [e['img_path'] for e in own.files('test')] == [
        e['img_path'] for e in own.files('labeled')
    ]


def test_one_class_is_two(tmp_path):
    with pytest.raises(
        SetupError, match=r'one name, cell; a binary task has two .*background: 0, cell: 255'
    ):
        OwnData(dict(labeled=dict(images='a', masks='b'), classes=dict(cell=255)))
