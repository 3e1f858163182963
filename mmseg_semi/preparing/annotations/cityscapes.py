"""Polygons as Cityscapes has them, *_polygons.json, of any classes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import walk_images
from mmseg_semi.preparing.annotations.image_lists import ImageStems, part_of, sorted_images
from mmseg_semi.preparing.annotations.pixel_polygons import fill_as_pillow, pixel_region
from mmseg_semi.preparing.annotations.texts import need, read_json, ring_of, size_of

TITLE = "Cityscapes' polygons (a folder with NAME_polygons.json, as gtFine/)"

DELETED = 'polygons that were deleted in the tool, left out'
GROUPS = "polygons of groups ('cargroup'), which have the class of their members"
SKIPPED = "polygons of 'license plate', which Cityscapes' own masks leave out"
NOTHING = 'images without a polygon of a class, unlabelled'

_ENDING = re.compile(r'(_gt(Fine|Coarse))?_polygons$')
_IMAGE_ENDINGS = ('_leftImg8bit', '')
_NOT_IMAGES = re.compile(r'_(color|labelIds|labelTrainIds|instanceIds|instanceTrainIds)$')
_UNKNOWN = ('unlabeled', 'out of roi', 'ego vehicle', 'rectification border')
_CLASSES = (
    'road',
    'sidewalk',
    'building',
    'wall',
    'fence',
    'pole',
    'traffic light',
    'traffic sign',
    'vegetation',
    'terrain',
    'sky',
    'person',
    'rider',
    'car',
    'truck',
    'bus',
    'train',
    'motorcycle',
    'bicycle',
)
_IGNORED = (
    *_UNKNOWN,
    'static',
    'dynamic',
    'ground',
    'parking',
    'rail track',
    'guard rail',
    'bridge',
    'tunnel',
    'polegroup',
    'caravan',
    'trailer',
)
_PLATE = 'license plate'


def matches(path: Path) -> bool:
    """Whether this is a file of such a name, or a folder with one in it or its subfolders."""
    if path.is_file():
        return path.name.endswith('_polygons.json')
    return next(path.rglob('*_polygons.json'), None) is not None


def read(path: Path, images: Path | None) -> Export:
    """Read polygons as Cityscapes has them. Images without a file of polygons are unlabelled.

    Where all classes are Cityscapes' own, those that its evaluation ignores are ignored, and its 19 classes keep their order. With other
    classes, only 'unlabeled', 'out of roi', 'ego vehicle' and 'rectification border' are ignored.

    Args:
        path: A folder, searched with its subfolders, or one file.
        images: Folder of the images; None looks in ``path`` and, if this is gtFine/ or gtCoarse/, in leftImg8bit/ beside it.

    Raises:
        SetupError: If a file is empty, cut off or misses what the format has.
    """
    root = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(path.rglob('*_polygons.json'))
    if not files:
        raise SetupError(f'{path} holds no file NAME_polygons.json; give the folder of these files')
    folders = [images] if images is not None else [root, *_beside(root)]
    stems = ImageStems(folders)
    contents = {file: read_json(file) for file in files}
    counts: Counter = Counter()
    labels = {
        need(entry, 'label', str, f'a polygon of {file}')
        for file, content in contents.items()
        for entry in need(content, 'objects', list, str(file))
        if not (isinstance(entry, dict) and entry.get('deleted'))
    }
    table = _Labels(labels)
    found = [
        _image(file, content, table, stems, root, counts) for file, content in contents.items()
    ]
    found += _others(folders, found)
    counts[NOTHING] += sum(not image.annotated for image in found)
    return Export(
        format="Cityscapes' polygons",
        source=path,
        classes=table.classes,
        images=sorted_images(found, path, counts),
        overlap='of two polygons the later one in the file is on top',
        unmarked=(
            'ignore',
            "Cityscapes' own masks have 'unlabeled' there, which its evaluation ignores",
        ),
        counts=+counts,
    )


def _beside(root: Path) -> list[Path]:
    """Folders of images beside a folder of polygons, at any depth: gtFine/train/aachen and leftImg8bit/train/aachen."""
    parts = root.resolve().parts
    for place in range(len(parts) - 1, 0, -1):
        if parts[place] in ('gtFine', 'gtCoarse'):
            return [Path(*parts[:place], 'leftImg8bit', *parts[place + 1 :])]
    return []


class _Labels:
    """What each label of an export becomes.

    Args:
        labels: All that the export has.

    Example:
        >>> labels = _Labels({'road', 'cargroup', 'sky', 'ego vehicle'})
        >>> labels.classes, labels.ignored('ego vehicle'), labels.member('cargroup')
        (['road', 'sky', 'car'], True, 'car')
    """

    def __init__(self, labels: set[str]) -> None:
        known = set(_CLASSES) | set(_IGNORED) | {_PLATE}
        self._labels = labels | known
        named = {self.member(label) or label for label in labels}
        self.official = named <= known
        self._ignored = _IGNORED if self.official else _UNKNOWN
        order = {name: place for place, name in enumerate(_CLASSES)}
        kept = {name for name in named if not self.ignored(name) and not self.skipped(name)}
        self.classes = sorted(kept, key=lambda name: (order.get(name, len(order)), name))

    def member(self, label: str) -> str | None:
        """The class of a group's members, None if the label is no group."""
        single = label.removesuffix('group')
        if label in _IGNORED or single == label or single not in self._labels:
            return None
        return single

    def ignored(self, name: str) -> bool:
        """Whether the pixels of a class are ignored."""
        return name in self._ignored

    def skipped(self, name: str) -> bool:
        """Whether the polygons of a class are not drawn."""
        return self.official and name == _PLATE


def _image(
    file: Path, content: Any, table: _Labels, stems: ImageStems, root: Path, counts: Counter
) -> AnnotatedImage:
    """The image of one file."""
    size = size_of(content.get('imgWidth'), content.get('imgHeight'), str(file))
    folder = file.parent.relative_to(root).as_posix()
    stem = _ENDING.sub('', file.stem)
    name = stem if folder == '.' else f'{folder}/{stem}'
    path = next(filter(None, (stems.find(name + ending) for ending in _IMAGE_ENDINGS)), None)
    image = AnnotatedImage(name + (path.suffix if path else ''), path, size, part=_part(file, root))
    for number, entry in enumerate(content['objects']):
        region = _region(entry, f'polygon {number} of {file}', image.size, table, counts)
        if region is not None:
            image.regions.append(region)
    image.annotated = any(region.label is not None for region in image.regions)
    return image


def _part(file: Path, root: Path) -> str | None:
    """The part that the folders of a file name, from its root's own name on."""
    folders = (root.resolve().name, *file.relative_to(root).parts[:-1])
    return next((part for part in map(part_of, reversed(folders)) if part), None)


def _region(
    entry: dict, where: str, size: tuple[int, int], table: _Labels, counts: Counter
) -> Region | None:
    """The region of a polygon, None if it is not drawn."""
    if entry.get('deleted'):
        counts[DELETED] += 1
        return None
    label = entry['label']
    single = table.member(label)
    counts[GROUPS] += single is not None
    label = single or label
    if table.skipped(label):
        counts[SKIPPED] += 1
        return None
    ring = ring_of(need(entry, 'polygon', list, where), where)
    return pixel_region(
        None if table.ignored(label) else label, ring, [], size, fill_as_pillow, counts
    )


def _others(folders: list[Path], found: list[AnnotatedImage]) -> list[AnnotatedImage]:
    """Images of the folders without a file of polygons."""
    used = {image.path.resolve() for image in found if image.path}
    others = {}
    for folder in folders:
        for path in walk_images(folder):
            if path.resolve() not in used and not _NOT_IMAGES.search(path.stem):
                name = path.relative_to(folder).as_posix()
                part = _part(path, folder)
                image = AnnotatedImage(name, path, annotated=False, part=part)
                others.setdefault(path.resolve(), image)
    return list(others.values())
