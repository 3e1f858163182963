"""Masks that cannot be read, or hold what their classes do not know."""

import numpy as np
from PIL import Image

from ..grammar import Case, kind
from ..ground import LABELED, NAMES, SIZE, listed, own, save
from .images import broken

AREA = 'masks'
COLOURS = np.array([[0, 0, 0], [0, 255, 0], [128, 128, 128]], np.uint8)


def any_mask(case: Case) -> tuple[str, np.ndarray]:
    """Name and values of one of the masks."""
    name = f'masks/a{case.number(0, LABELED)}.png'
    return name, np.array(Image.open(case.file(name)))


def every_mask(case: Case):
    """Path and values of all masks."""
    for path in sorted(case.file('masks').iterdir()):
        yield path, np.array(Image.open(path))


@kind(AREA, own, times=5)
def mask_that_cannot_be_read(case: Case):
    name, _ = any_mask(case)
    content = broken(case, case.file(name).read_bytes())
    case.file(name).write_bytes(content)
    return name, f'{len(content)} bytes', 'cannot be decoded', 'replace the file'


@kind(AREA, own, times=2)
def value_of_no_class(case: Case):
    name, values = any_mask(case)
    wrong, side = case.number(3, 255), case.number(1, 5)
    values[:side, :side] = wrong
    save(values, case.file(name))
    return name, 'data.yaml', f'{wrong} ({side * side} pixels)', 'add them to a class or to ignore'


@kind(AREA, listed, times=2)
def label_beyond_the_classes(case: Case):
    part = ('train', 'val')[case.turn]
    path = case.file(f'data/labels/{part}/{part}01.png')
    values, wrong = np.array(Image.open(path)), case.number(11, 255)
    values[-2:, -2:] = wrong
    save(values, path)
    return f'{part}01.png', f'the label {wrong} (4 pixels)', '11 classes'


@kind(AREA, own)
def colours_where_values_are_mapped(case: Case):
    for path, values in every_mask(case):
        save(COLOURS[values], path)
    return 'masks/a', 'in colour', 'data.yaml maps values', '#00ff00'


@kind(AREA, own)
def colour_of_no_class(case: Case):
    case.data['classes'] = dict(zip(NAMES, ('#000000', '#00ff00', '#808080'), strict=True))
    for path, values in every_mask(case):
        save(COLOURS[values], path)
    name, values = any_mask(case)
    values[:2, :2] = 9
    save(values, case.file(name))
    return name, 'data.yaml', '#090909 (4 pixels)'


@kind(AREA, own)
def values_where_colours_are_mapped(case: Case):
    case.data['classes'] = dict(zip(NAMES, ('#000000', '#00ff00', '#808080'), strict=True))
    return 'masks/a0.png', 'data.yaml', '#010101', '#020202'


@kind(AREA, own)
def masks_of_0_and_255(case: Case):
    case.data['classes'] = ['ground', 'plant']
    case.set('model.student.decode_head.num_classes', 2)
    for path, values in every_mask(case):
        save(np.where(values == 1, 255, 0).astype(np.uint8), path)
    return 'data.yaml', "'plant' (index 1)", '255', 'classes: {ground: 0, plant: 255}'


@kind(AREA, own)
def masks_of_one_class(case: Case):
    value = case.number(0, 3)
    for path, values in every_mask(case):
        save(np.full_like(values, value), path)
    return 'data.yaml', 'shows the classes', *(repr(n) for i, n in enumerate(NAMES) if i != value)


@kind(AREA, own, times=4)
def masks_of_numbers_that_are_none(case: Case):
    name, values = any_mask(case)
    wrong = values.astype(np.float32)
    wrong[:3, :3] = (0.5, np.nan, -1, 1e9)[case.turn]
    case.file(name).unlink()
    save(wrong, case.file(name).with_suffix('.tif'))
    found = ('fractions (such as 0.5)', 'nan', '-1 (9 pixels)', '1000000000 (9 pixels)')[case.turn]
    return name.replace('.png', '.tif'), found


@kind(AREA, own, times=3)
def array_that_is_no_mask(case: Case):
    name, values = any_mask(case)
    wrong, found = [
        (np.stack([values] * 4)[:, None], f'4 x 1 x {SIZE[1]} x {SIZE[0]}'),
        (np.stack([values == i for i in range(3)]), f'3 x {SIZE[1]} x {SIZE[0]}'),
        (np.array([{'a': 1}], dtype=object), 'Object'),
    ][case.turn]
    case.file(name).unlink()
    np.save(case.file(name).with_suffix('.npy'), wrong, allow_pickle=True)
    return name.replace('.png', '.npy'), found


@kind(AREA, own)
def mask_of_several_pages(case: Case):
    name, values = any_mask(case)
    case.file(name).unlink()
    pages = [Image.fromarray((values == label).astype(np.uint8)) for label in (1, 2)]
    path = case.file(name).with_suffix('.tif')
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return name.replace('.png', '.tif'), '2 pages'


@kind(AREA, own)
def mask_stored_inverted(case: Case):
    case.data['classes'] = ['ground', 'plant']
    case.set('model.student.decode_head.num_classes', 2)
    for path, values in every_mask(case):
        path.unlink()
        Image.fromarray(values != 1).save(path.with_suffix('.tif'), tiffinfo={262: 0})
    return 'masks/a', 'white is zero'


@kind(AREA, own)
def palettes_in_different_orders(case: Case):
    for number, (path, values) in enumerate(every_mask(case)):
        order = (0, 1, 2) if number % 2 == 0 else (2, 0, 1)
        picture = Image.fromarray(np.argsort(order).astype(np.uint8)[values])
        picture.putpalette([part for label in order for part in COLOURS[label].tolist()])
        picture.save(path)
    return 'data.yaml', 'palettes', 'different orders', 'classes'


@kind(AREA, own)
def masks_that_jpeg_changed(case: Case):
    for path, values in every_mask(case):
        path.unlink()
        Image.fromarray(values * 100).save(path.with_suffix('.jpg'), quality=60)
    case.data['classes'] = dict(zip(NAMES, (0, 100, 200), strict=True))
    return 'data.yaml', 'masks/a0.jpg', 'JPEG changes values'
