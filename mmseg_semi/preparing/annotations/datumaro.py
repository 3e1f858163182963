"""Datumaro's own JSON, a file for each subset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.drawing import require_pycocotools
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import BY_NAME, ImageFiles
from mmseg_semi.preparing.annotations.image_lists import (
    found_elsewhere,
    image_folders,
    part_of,
    sorted_images,
)
from mmseg_semi.preparing.annotations.shapes import ellipse_ring, line_region, rectangle_ring
from mmseg_semi.preparing.annotations.texts import head, need, optional, read_json, ring_of, size_of

TITLE = "Datumaro (annotations/*.json with 'dm_format_version' or 'items')"

NO_AREA = 'labels of whole images, captions and cuboids, which are no regions, left out'
NO_CLASS = 'regions without a class, whose pixels are ignored'
NOTHING = 'images without a region, unlabelled'

_AREAS = ('polygon', 'bbox', 'ellipse', 'mask')
_LINES = ('polyline', 'points')
_OTHERS = ('label', 'caption', 'cuboid_2d', 'cuboid_3d', 'hash_key', 'skeleton')


def matches(path: Path) -> bool:
    """Whether this is a JSON file of Datumaro, or a folder that holds one in annotations/ or directly."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The JSON files of an export, one for each subset."""
    if path.is_file():
        return [path] if _is_datumaro(path) else []
    for folder in (path / 'annotations', path):
        found = [file for file in sorted(folder.glob('*.json')) if _is_datumaro(file)]
        if found:
            return found
    return []


def _is_datumaro(path: Path) -> bool:
    start = head(path).lstrip() if path.suffix.lower() == '.json' else ''
    if not start.startswith('{'):
        return False
    if re.search(r'"dm_format_version"\s*:', start):
        return True
    # versions before 1.0 wrote no version
    return all(re.search(rf'"{key}"\s*:', start) for key in ('categories', 'items', 'label'))


def read(path: Path, images: Path | None, line_width: float = 0.0) -> Export:
    """Read the JSON files of Datumaro.

    Args:
        path: A file, or the folder that holds annotations/ and perhaps images/.
        images: Folder of the images, or None if they are in images/.
        line_width: Polylines and points become areas of this width in pixels; 0 leaves them out.

    Raises:
        SetupError: If a file is empty, cut off or of another version, or contradicts itself or another one.
    """
    files = _files(path) or ([path] if path.is_file() else [])
    if not files:
        raise SetupError(
            f'{path} holds no JSON file of Datumaro, looked for were {path}/annotations/*.json; give the folder of the project'
        )
    root = files[0].parent.parent if files[0].parent.name == 'annotations' else files[0].parent
    finder = ImageFiles(image_folders(root, images))
    counts: Counter = Counter()
    found: list[AnnotatedImage] = []
    classes: list[str] = []
    colours: dict[str, str] = {}
    version = ''
    for file in files:
        content = read_json(file)
        version = _check_version(content, file)
        names = _classes(content, file)
        if classes and names != classes:
            raise SetupError(
                f'{files[0]} and {file} disagree about the classes ({", ".join(classes)}; {", ".join(names)}); export the subsets together'
            )
        classes = names
        colours.update(_colours(content, names, file))
        for item in need(content, 'items', list, f'the Datumaro file {file}'):
            found.append(_image(item, file, names, finder, line_width, counts))
    counts[NOTHING] += sum(not image.annotated for image in found)
    return Export(
        format='Datumaro',
        source=path,
        classes=classes,
        images=sorted_images(found, path, counts),
        overlap='the shape with the larger z_order is on top, of equal ones the later one in the file',
        unmarked=('background', "datumaro's masks have the class background where no shape is"),
        colours=colours,
        version=version,
        counts=+counts,
    )


def _check_version(content: Any, file: Path) -> str:
    """The version of a file that can be read."""
    version = str(content.get('dm_format_version', '')) if isinstance(content, dict) else ''
    if version not in ('', 'legacy') and not version.startswith('1.'):
        raise SetupError(
            f'{file} is of the Datumaro format {version}, expected 1.x; export it with datumaro 1.x'
        )
    return version


def _classes(content: dict, file: Path) -> list[str]:
    categories = need(content, 'categories', dict, f'the Datumaro file {file}')
    labels = need(categories, 'label', dict, f"the 'categories' of {file}")
    entries = need(labels, 'labels', list, f'the label categories of {file}')
    names = [need(entry, 'name', str, f'a class of {file}') for entry in entries]
    if not names:
        raise SetupError(f'{file} has no class; export it with its label categories')
    return names


def _colours(content: dict, names: list[str], file: Path) -> dict[str, str]:
    """Class -> colour, of the file's mask categories."""
    where = f'the mask categories of {file}'
    mask = optional(content['categories'], 'mask', dict, {}, where)
    found = {}
    for entry in optional(mask, 'colormap', list, [], where):
        index, *colour = (need(entry, key, int, where) for key in ('label_id', *'rgb'))
        if not all(0 <= value <= 255 for value in colour):
            raise SetupError(
                f'{where} have the colour {colour}, expected 0 to 255; export it again'
            )
        if 0 <= index < len(names):
            found[names[index]] = '#{:02x}{:02x}{:02x}'.format(*colour)
    return found


def _image(
    item: Any,
    file: Path,
    classes: list[str],
    finder: ImageFiles,
    line_width: float,
    counts: Counter,
) -> AnnotatedImage:
    """The image of an item, with its regions."""
    key = need(item, 'id', str, f'an item of {file}')
    where = f'the item {key} of {file}'
    media = optional(item, 'image', dict, {}, where)
    if not media and any(item.get(other) for other in ('video_frame', 'video', 'point_cloud')):
        raise SetupError(
            f'{where} is no image but a frame of a video or a point cloud; export the frames as images'
        )
    name = f'{file.stem}/{optional(media, "path", str, "", where) or key}'
    size = optional(media, 'size', list, None, where)
    path = finder.find(name)
    counts[BY_NAME] += found_elsewhere(name.partition('/')[2], path)
    image = AnnotatedImage(
        path.relative_to(_folder_of(path, finder)).as_posix() if path else name,
        path,
        _size(size, where) if size else None,
        part=part_of(file.stem),
    )
    for number, shape in enumerate(optional(item, 'annotations', list, [], where)):
        region = _region(
            shape, f'annotation {number} of {where}', image.size, classes, line_width, counts
        )
        if region is not None:
            image.regions.append(region)
    image.annotated = bool(image.regions)
    return image


def _folder_of(path: Path, finder: ImageFiles) -> Path:
    return next((each for each in finder.folders if path.is_relative_to(each)), path.parent)


def _size(size: list, where: str) -> tuple[int, int]:
    """(width, height) of a list of height and width."""
    if len(size) != 2:
        raise SetupError(
            f"{where} has the 'size' {size!r:.60}, expected height and width; export it again"
        )
    return size_of(size[1], size[0], where)


def _region(
    shape: Any,
    where: str,
    size: tuple[int, int] | None,
    classes: list[str],
    line_width: float,
    counts: Counter,
) -> Region | None:
    """The region of an annotation, None if it has none."""
    kind = need(shape, 'type', str, where)
    if kind in _OTHERS:
        counts[NO_AREA] += 1
        return None
    if kind not in _AREAS + _LINES:
        raise SetupError(
            f"{where} is of the type '{kind}', expected one of {', '.join(_AREAS + _LINES + _OTHERS)}; export it with datumaro 1.x"
        )
    label = _label(shape, where, classes, counts)
    order = float(optional(shape, 'z_order', (int, float), 0, where))
    if kind == 'mask':
        return Region(label, mask=_mask(shape, where, size), order=order)
    if kind == 'bbox':
        x, y, width, height = _four(shape, 'bbox', where)
        return Region(label, (rectangle_ring(x, y, x + width, y + height),), order=order)
    if kind == 'ellipse':
        left, top, right, bottom = _four(shape, 'points', where)
        radii = (right - left) / 2, (bottom - top) / 2
        return Region(
            label, (ellipse_ring((left + right) / 2, (top + bottom) / 2, *radii),), order=order
        )
    points = ring_of(need(shape, 'points', list, where), where)
    if kind in _LINES:
        return line_region(label, points, line_width, counts, order, joined=kind == 'polyline')
    return Region(label, (points,), order=order)


def _label(shape: dict, where: str, classes: list[str], counts: Counter) -> str | None:
    index = shape.get('label_id')
    if index is None:
        counts[NO_CLASS] += 1
        return None
    if not isinstance(index, int) or not 0 <= index < len(classes):
        raise SetupError(
            f'{where} has the class {index!r}, but {len(classes)} classes are listed, 0 to {len(classes) - 1}; add it to the label categories'
        )
    return classes[index]


def _four(shape: dict, key: str, where: str) -> list[float]:
    values = ring_of(need(shape, key, list, where), where).ravel().tolist()
    if len(values) != 4:
        raise SetupError(
            f"{where} has {len(values)} numbers in '{key}', expected four; export it again"
        )
    return values


def _mask(shape: dict, where: str, size: tuple[int, int] | None) -> Callable[[], np.ndarray]:
    """A function that gives the mask of an RLE as COCO compresses it."""
    rle = need(shape, 'rle', dict, where)
    width, height = _size(need(rle, 'size', list, where), where)
    if size is not None and (width, height) != size:
        raise SetupError(
            f'{where} is an RLE of {width} x {height} pixels, but its image is {size[0]} x {size[1]} (width x height); export both from the '
            'same images'
        )
    counts = need(rle, 'counts', str, where)
    require_pycocotools(where)
    return partial(_decode, dict(size=[height, width], counts=counts), where)


def _decode(rle: dict, where: str) -> np.ndarray:
    try:
        return require_pycocotools(where).decode(rle).astype(bool)
    except ValueError as error:
        raise SetupError(
            f'{where} is an RLE that cannot be decoded ({error}); export it again'
        ) from error
