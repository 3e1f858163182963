"""COCO JSON: polygons, both kinds of RLE, crowds; one file or several parts."""

from __future__ import annotations

import os
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
from mmseg_semi.preparing.annotations.texts import head, need, read_json, ring_of, size_of

TITLE = "COCO (a JSON file with 'images', 'categories' and 'annotations', or a folder with annotations/*.json)"

_KEYS = ('images', 'annotations', 'categories', 'shapes', 'items')
_HEAD = 65536
_BELOW = -1.0  # order of crowds: the objects that are marked in them stay
_PARTS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}
BOXES = 'annotations with a box and without a region, left out'
CROWDS = 'crowd regions, whose pixels are ignored (--crowd class makes them pixels of their class)'
MASKS = 'regions with iscrowd, which are pixels of their class (--crowd ignore ignores them)'
MANY_CROWDS = 0.1
"""Share of the annotations from which iscrowd is no crowd: datumaro sets it for every painted mask."""


def matches(path: Path) -> bool:
    """Whether this is a COCO file, or a folder that holds one in annotations/ or directly."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The COCO files of an export."""
    if path.is_file():
        return [path] if _is_coco(path) else []
    # the last are those of exports with a file in the folder of each part
    for folder, pattern in ((path / 'annotations', '*.json'), (path, '*.json'), (path, '*/*.json')):
        found = [file for file in sorted(folder.glob(pattern)) if _is_coco(file)]
        if found:
            # beside these, COCO has files of captions, keypoints and the like about the same images
            usual = [file for file in found if file.name.startswith(('instances', 'image_info'))]
            return usual or found
    return []


def _is_coco(path: Path) -> bool:
    """Whether a file has COCO's lists of images and annotations, as far as its beginning shows."""
    if path.suffix.lower() != '.json':
        return False
    start = head(path, _HEAD)
    keys = {key for key in _KEYS if re.search(rf'"{key}"\s*:', start)}
    if not start.lstrip().startswith('{') or keys & {'shapes', 'items'}:  # labelme, Datumaro
        return False
    # the first list of a large file may fill what was read
    least = 1 if len(start) >= _HEAD // 2 else 2
    return len(keys & {'images', 'annotations', 'categories'}) >= least


def read(path: Path, images: Path | None, crowd: str | None = None) -> Export:
    """Read a COCO file, or the parts of an export.

    Crowds are regions with ``iscrowd`` 1. In COCO itself they are coarse outlines of many objects, rare, and ignored. datumaro
    sets it for every painted mask: where a tenth of the annotations has it, they are regions of their class as all others.

    Args:
        path: The file, or a folder that holds files in annotations/, directly, or one in each part's folder.
        images: Folder of the images, or None for the usual places beside the file.
        crowd: 'ignore' or 'class' in place of this rule.

    Raises:
        SetupError: If a file is empty, misses what COCO requires or contradicts itself, or two files disagree.
    """
    files = _files(path) or ([path] if path.is_file() else [])
    if not files:
        raise SetupError(
            f'{path} holds no COCO file, looked for were {path}/annotations/*.json and {path}/*.json; give the JSON file itself'
        )
    contents = {file: _content(file) for file in files}
    categories = _categories(contents)
    merged: dict[str, AnnotatedImage] = {}
    owner: dict[str, Path] = {}
    counts: Counter = Counter()
    entries = [entry for content in contents.values() for entry in content['annotations']]
    marked = sum(bool(entry.get('iscrowd')) for entry in entries)
    ignored = crowd == 'ignore' or crowd is None and marked < MANY_CROWDS * len(entries)
    counts[CROWDS if ignored else MASKS] += marked
    versions = sorted(
        {str((content.get('info') or {}).get('version') or '') for content in contents.values()}
        - {''}
    )
    for file, content in contents.items():
        finder = _finder(path, file, _part(file), images)
        part = _part(file) if len(files) > 1 else None
        for image in _images(file, content, categories[file], finder, part, ignored, counts):
            _merge(merged, owner, image, file)
        counts[BY_NAME] += finder.by_name
    names = {name: None for table in categories.values() for name in table.values()}
    return Export(
        format='COCO',
        source=path,
        classes=list(names),
        images=sorted(merged.values(), key=lambda image: image.name),
        overlap='COCO files have no depth: of two regions the later annotation is on top, crowds are below all others',
        unmarked=(
            'background',
            'COCO data sets mark objects, and what is outside of them is background',
        ),
        version=', '.join(versions),
        counts=counts,
    )


def _content(path: Path) -> dict:
    """The content of a file, checked as far as all that follows needs it."""
    content = read_json(path)
    for key in ('images', 'annotations', 'categories'):
        need(content, key, list, f'the COCO file {path}')
        for entry in content[key]:
            if not isinstance(entry, dict):
                raise SetupError(
                    f'the COCO file {path} has {entry!r:.80} among its {key}, expected objects with keys; export it again'
                )
    if not content['images']:
        raise SetupError(f'the COCO file {path} names no image; export the annotations again')
    if content['annotations'] and not content['categories']:
        raise SetupError(f'the COCO file {path} has no category; export it with its classes')
    return content


def _categories(contents: dict[Path, dict]) -> dict[Path, dict[Any, str]]:
    """File -> id of a category -> its name, in the order of the ids."""
    found: dict[Path, dict[Any, str]] = {}
    first: dict[Any, tuple[str, Path]] = {}
    for file, content in contents.items():
        table: dict[Any, str] = {}
        for entry in sorted(
            content['categories'], key=lambda entry: (str(type(entry.get('id'))), entry.get('id'))
        ):
            key = need(entry, 'id', (int, str), f'a category of {file}')
            name = str(need(entry, 'name', (str, int), f'the category {key} of {file}'))
            known, where = first.setdefault(key, (name, file))
            if known != name:
                raise SetupError(
                    f"the files {where} and {file} disagree about the category {key}: it is '{known}' in one and '{name}' in the other; "
                    'export both with the same classes'
                )
            table[key] = name
        found[file] = table
    return found


def _part(file: Path) -> str | None:
    """'train', 'val' or 'test' by the file's name, as instances_train2017.json, or by its folder's."""
    for text in (file.stem.lower(), file.parent.name.lower()):
        for word, part in _PARTS.items():
            if word in ''.join(c if c.isalpha() else ' ' for c in text).split():
                return part
    return None


def _finder(path: Path, file: Path, part: str | None, images: Path | None) -> ImageFiles:
    """Looks for the images of a file: in the folder of its part first, for names repeat over the parts."""
    root = path if path.is_dir() else path.parent
    if images is not None:
        roots = [images]
    else:
        roots = [] if file.parent.name == 'annotations' else [file.parent]
        if not path.is_dir() and root.name == 'annotations':
            root = root.parent
        roots += [root / 'images', root]
    words = [
        word
        for word in (file.stem.removeprefix('instances_').removeprefix('image_info_'), part)
        if word
    ]
    return ImageFiles([*(folder / word for folder in roots for word in words), *roots])


def _images(
    file: Path,
    content: dict,
    categories: dict[Any, str],
    finder: ImageFiles,
    part: str | None,
    ignored: bool,
    counts: Counter,
) -> list[AnnotatedImage]:
    """The images of a file with their regions."""
    of_id: dict[Any, AnnotatedImage] = {}
    for entry in content['images']:
        key = need(entry, 'id', (int, str), f'an image of {file}')
        name = need(entry, 'file_name', str, f'the image {key} of {file}').replace('\\', '/')
        where = f'the image {name} of {file}'
        size = None
        if entry.get('width') is not None or entry.get('height') is not None:
            size = size_of(entry.get('width'), entry.get('height'), where)
        if key in of_id:
            raise SetupError(
                f'{file} has two images with the id {key}, {of_id[key].name} and {name}; export it again'
            )
        of_id[key] = AnnotatedImage(name, finder.find(name), size, annotated=False, part=part)
    for place, entry in enumerate(content['annotations']):
        where = f'annotation {entry.get("id", f"number {place}")} of {file}'
        image = of_id.get(_key(entry, 'image_id'))
        if image is None:
            raise SetupError(
                f'{where} belongs to the image {entry.get("image_id")!r}, which the file does not have; export it again'
            )
        if _key(entry, 'category_id') not in categories:
            shown = ', '.join(f'{key}: {name}' for key, name in list(categories.items())[:8])
            raise SetupError(
                f'{where} has the category {entry.get("category_id")!r}, which the list of categories lacks ({shown}); add it there'
            )
        region = _region(entry, categories[entry['category_id']], image, where, ignored, counts)
        image.annotated = image.annotated or region is not None
        if region is not None:
            image.regions.append(region)
    return list(of_id.values())


def _key(entry: dict, key: str) -> Any:
    """A value that refers to another entry; None for what cannot be looked up."""
    value = entry.get(key)
    return value if isinstance(value, int | str) else None


def _region(
    entry: dict, label: str, image: AnnotatedImage, where: str, ignored: bool, counts: Counter
) -> Region | None:
    """The region of an annotation; None if it has none."""
    shape = entry.get('segmentation')
    crowd = ignored and bool(entry.get('iscrowd'))
    name, order = (None, _BELOW) if crowd else (label, 0.0)
    if not shape:
        counts[BOXES] += 1
        return None
    if isinstance(shape, dict):
        return Region(name, mask=_rle(shape, image, where), order=order)
    if not isinstance(shape, list):
        raise SetupError(
            f'{where} has the segmentation {shape!r:.60}, expected polygons or RLE; export it again'
        )
    rings = shape if isinstance(shape[0], list) else [shape]
    return Region(name, tuple(ring_of(ring, where) for ring in rings), order=order)


def _rle(shape: dict, image: AnnotatedImage, where: str) -> Callable[[], np.ndarray]:
    """A function that gives the mask of an RLE."""
    coco = require_pycocotools(f'{where} (RLE)')
    size, runs = need(shape, 'size', list, where), need(shape, 'counts', (list, str), where)
    if len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise SetupError(f'{where} is an RLE of the size {size}, expected height and width')
    image.size = image.size or (size[1], size[0])
    if tuple(size) != image.size[::-1]:
        raise SetupError(
            f'{where} is an RLE of {size[1]} x {size[0]} pixels, but its image {image.name} is {image.size[0]} x {image.size[1]} '
            '(width x height); export both from the same images'
        )
    if isinstance(runs, list):
        if sum(runs) != size[0] * size[1]:
            raise SetupError(
                f'{where} is an RLE of {sum(runs)} pixels, but its size is {size[1]} x {size[0]}; export it again'
            )
        shape = coco.frPyObjects(shape, *size)
    return partial(_decode, shape, where)


def _decode(shape: dict, where: str) -> np.ndarray:
    coco = require_pycocotools(where)
    try:
        return coco.decode(shape).astype(bool)
    except ValueError as error:
        raise SetupError(
            f'{where} is an RLE that cannot be decoded ({error}); export it again'
        ) from error


def _merge(
    merged: dict[str, AnnotatedImage], owner: dict[str, Path], image: AnnotatedImage, file: Path
) -> None:
    """Add an image of a file to those of the files before it."""
    # two parts may use one name for different files, as train/0001.jpg and val/0001.jpg
    key = os.path.realpath(image.path) if image.path else image.name
    known = merged.get(key)
    if known is None:
        merged[key], owner[key] = image, file
        return
    if file == owner[key]:
        raise SetupError(f'{file} names the image {image.name} twice; export it again')
    differences = []
    if known.size != image.size and None not in (known.size, image.size):
        differences.append(f'its size is {known.size} and {image.size}')
    if known.annotated and image.annotated:
        differences.append('both have annotations of it')
    if known.part != image.part:
        differences.append(f"it is in '{known.part}' and in '{image.part}'")
    if differences:
        raise SetupError(
            f'the files {owner[key]} and {file} disagree about the image {image.name}: {", ".join(differences)}; keep it in one of them'
        )
    if image.annotated:
        merged[key] = image
