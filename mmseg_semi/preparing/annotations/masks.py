"""Plain folders of images and masks, with or without a file that describes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from mmseg_semi.data.decoding.labels import read_mask
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.annotations.drawing import MAX_CLASSES
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export
from mmseg_semi.preparing.annotations.files import walk_images

TITLE = 'plain folders (images/ and masks/, or a data.yaml as docs/custom_data.md describes it)'

SUFFIXES = ('_mask', '-mask', '_masks', '_label', '_labels', '_gt', '_seg', '_segmentation')
"""Ends that masks may have beyond the names of their images."""

LONELY = 'masks without an image, left out'
BINARY = 'masks of the values 0 and 255: background and foreground'

_IMAGES = ('images', 'imgs', 'photos')
_MASKS = ('masks', 'labels', 'annotations')


def matches(path: Path) -> bool:
    """Whether this is a description of own data, or a folder with one, or with folders of images and masks."""
    if path.is_file():
        return path.suffix.lower() in ('.yaml', '.yml') and _is_description(path)
    return _description(path) is not None or None not in (
        _folder(path, _IMAGES),
        _folder(path, _MASKS),
    )


def _description(path: Path) -> Path | None:
    """The description in a folder; a data.yaml of another tool is none."""
    file = path / 'data.yaml'
    return file if file.is_file() and _is_description(file) else None


def _is_description(path: Path) -> bool:
    return any(
        line.startswith('labeled:')
        for line in path.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    )


def _folder(path: Path, names: tuple[str, ...]) -> Path | None:
    """The folder of one of these names that holds an image file."""
    return next((path / name for name in names if any(walk_images(path / name))), None)


def read(path: Path, images: Path | None) -> Export:
    """Read plain folders.

    Args:
        path: A folder with images/ and masks/, a description (data.yaml) or its folder; with ``images``, the folder of masks.
        images: The folder of images, or None.

    Raises:
        SetupError: If a folder is missing or holds no image, or the masks hold more values than there can be classes.
    """
    file = path if path.is_file() else _description(path)
    if file is not None:
        return _read_description(file)
    masks = _folder(path, _MASKS) if images is None else _folder(path, _MASKS) or path
    images = images or _folder(path, _IMAGES)
    if masks is None or images is None:
        raise SetupError(
            f'{path} has no folders of images and masks, looked for were {", ".join(_IMAGES)} and {", ".join(_MASKS)}; give the folder of '
            'masks, and that of the images by --images'
        )
    return read_folders(images, masks)


def _read_description(file: Path) -> Export:
    """Own data as training reads them; what the description divides stays divided."""
    own = OwnData(file)
    found = {}
    parts = [
        part
        for part in ('labeled', 'val', 'test')
        if part == 'labeled' or own.content.get(part) is not None
    ]
    for part in parts:
        for entry in own.files(part):
            found[entry['img_path']] = AnnotatedImage(
                _name(entry['img_path'], file.parent),
                Path(entry['img_path']),
                mask=Path(entry['seg_map_path']),
                part='train'
                if part == 'labeled' and len(parts) > 1
                else part
                if part != 'labeled'
                else None,
            )
    if own.content.get('unlabeled'):
        for entry in own.files('unlabeled'):
            path = entry['img_path']
            found.setdefault(
                path, AnnotatedImage(_name(path, file.parent), Path(path), annotated=False)
            )
    classes = own.content['classes']
    values = (
        dict(classes)
        if isinstance(classes, dict)
        else {name: index for index, name in enumerate(own.mask_map.names)}
    )
    ignored = own.content.get('ignore')
    return _export(
        file,
        list(found.values()),
        {str(name): value for name, value in values.items()},
        ignored if isinstance(ignored, list) or ignored is None else [ignored],
        Counter(),
        'described by data.yaml',
        {
            name: '#{:02x}{:02x}{:02x}'.format(*colour)
            for name, colour in zip(own.mask_map.names, own.palette, strict=True)
        },
    )


def _name(path: str, folder: Path) -> str:
    return (
        Path(path).relative_to(folder).as_posix()
        if Path(path).is_relative_to(folder)
        else Path(path).name
    )


def read_folders(images: Path, masks: Path) -> Export:
    """Read a folder of images and a folder of masks of the same names, which may have one of :data:`SUFFIXES`.

    The values of all masks are read, for they are the classes: class names are these values until --classes names them.

    Raises:
        SetupError: If a folder holds no image, or the masks hold more values than there can be classes.
    """
    for folder, kind in ((images, 'image'), (masks, 'mask')):
        if not any(walk_images(folder)):
            raise SetupError(f'the folder {folder} holds no {kind}; name the folder of the {kind}s')
    files = {
        file.relative_to(images).with_suffix('').as_posix(): file for file in walk_images(images)
    }
    of_mask: dict[str, Path] = {}
    counts: Counter = Counter()
    for mask in walk_images(masks):
        stem = mask.relative_to(masks).with_suffix('').as_posix()
        names = [stem, *(stem.removesuffix(suffix) for suffix in SUFFIXES if stem.endswith(suffix))]
        name = next((name for name in names if name in files and files[name] != mask), None)
        counts[LONELY] += name is None
        if name is None:
            continue
        if name in of_mask:
            raise SetupError(
                f'{of_mask[name]} and {mask} are both masks of the image {files[name].name}; keep one of them'
            )
        of_mask[name] = mask
    if not of_mask:
        raise SetupError(
            f'no mask in {masks} has the name of an image in {images} (such as {next(iter(files))}.png or {next(iter(files))}_mask.png); '
            'rename the masks'
        )
    used = set(of_mask.values())
    found = [
        AnnotatedImage(
            file.relative_to(images).as_posix(),
            file,
            mask=of_mask.get(name),
            annotated=name in of_mask,
        )
        for name, file in files.items()
        if file not in used
    ]
    values, ignored = _values(of_mask.values(), masks, counts)
    return _export(masks, found, values, ignored, counts, '', {})


def _export(source, images, values, ignored, counts, version, colours) -> Export:
    background = next((name for name in values if name.strip('_').lower() == 'background'), None)
    return Export(
        format='mask folders',
        source=source,
        classes=[name for name in values if name != background],
        images=sorted(images, key=lambda image: image.name),
        overlap='the masks are finished: a pixel has one class',
        unmarked=('background', 'masks of images say the class of each pixel themselves'),
        mask_values=values,
        ignore_values=ignored,
        unmarked_class=background,
        colours=colours,
        version=version,
        counts=counts,
    )


def _values(masks, folder: Path, counts: Counter) -> tuple[dict[str, int | str], list | None]:
    """Name of a class -> the value or colour that it has in the masks; and the ignored values."""
    values: set[int] = set()
    colours: set[int] = set()
    for path in masks:
        array = read_mask(str(path))
        if array.ndim == 3 and (array == array[..., :1]).all():
            array = array[..., 0]  # grey levels in three channels
        if array.ndim == 2:
            values |= _distinct(array, path)
        else:
            codes = array.astype(np.int64) @ (1 << 16, 1 << 8, 1)
            colours |= set(np.unique(codes).tolist())
        if len(values) > IGNORE + 1 or len(colours) > IGNORE + 1:
            kind, hint = (
                ('colours', ' (JPEG changes them: store masks as PNG)')
                if colours
                else ('values', '')
            )
            raise SetupError(
                f'the masks in {folder} hold more than {MAX_CLASSES} {kind}, read up to {path}{hint}; describe what they mean in a '
                'data.yaml, as docs/custom_data.md shows'
            )
    if colours:
        # masks without any colour are black, white or grey
        colours |= {value * 0x010101 for value in values}
        return {f'#{code:06x}': f'#{code:06x}' for code in sorted(colours)}, None
    if values == {0, IGNORE}:
        counts[BINARY] += 1
        return {'background': 0, 'foreground': IGNORE}, None
    return {str(value): value for value in sorted(values - {IGNORE})}, [IGNORE]


def _distinct(array: np.ndarray, path: Path) -> set[int]:
    """The values of a mask of one channel."""
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype == np.uint8:
        histogram = cv2.calcHist([array], [0], None, [256], [0, 256])
        return set(np.flatnonzero(histogram).tolist())
    found = np.unique(array)
    if (found != np.rint(found)).any() or found[0] < 0:
        raise SetupError(
            f'the mask {path} holds {found[0]:g} to {found[-1]:g}, expected whole numbers of 0 or more; export it as integers'
        )
    return {int(value) for value in found}
