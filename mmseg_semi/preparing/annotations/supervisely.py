"""Supervisely's project folders: polygons with holes, bitmaps, rectangles."""

from __future__ import annotations

import base64
import binascii
import io
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_semi.data.decoding.files import ANY_IMAGE_SUFFIXES
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import ImageFiles, walk_images
from mmseg_semi.preparing.annotations.image_lists import ImageStems, part_of, sorted_images
from mmseg_semi.preparing.annotations.pixel_polygons import fill_as_opencv, pixel_region
from mmseg_semi.preparing.annotations.shapes import line_region, rectangle_ring
from mmseg_semi.preparing.annotations.texts import head, need, optional, read_json, ring_of, size_of

TITLE = 'Supervisely (a folder with meta.json and DATASET/ann/)'

NO_AREA = 'key points, cuboids and other figures without an area, left out'
NOTHING = 'images without a figure, unlabelled'

_AREAS = ('polygon', 'multipolygon', 'bitmap', 'alpha_mask', 'rectangle')
_LINES = ('line', 'polyline', 'point')
_OTHERS = ('graph', 'cuboid', 'cuboid_2d')


def matches(path: Path) -> bool:
    """Whether this is a project folder of Supervisely, or its meta.json."""
    folder = path.parent if path.name == 'meta.json' else path
    if not folder.is_dir() or not re.search(r'"classes"\s*:\s*\[', head(folder / 'meta.json')):
        return False
    return bool(_annotation_folders(folder))


def _annotation_folders(folder: Path) -> list[Path]:
    """The ann/ folder of each data set; data sets may be nested."""
    return sorted(each for each in folder.rglob('ann') if each.is_dir())


def read(path: Path, images: Path | None, line_width: float = 0.0) -> Export:
    """Read a project of Supervisely. Images of a data set without a file of annotations are unlabelled.

    Args:
        path: The folder with meta.json, or this file.
        images: Folder of the images; None looks in the img/ beside each ann/.
        line_width: Lines and points become areas of this width in pixels; 0 leaves them out.

    Raises:
        SetupError: If a file is empty, cut off or misses what the format has, or a figure's class is not in meta.json.
    """
    folder = path.parent if path.name == 'meta.json' else path
    meta_file = folder / 'meta.json'
    if not meta_file.is_file():
        raise SetupError(
            f'{folder} has no meta.json, which names the classes; export the whole project and give its folder'
        )
    meta = read_json(meta_file)
    entries = need(meta, 'classes', list, str(meta_file))
    classes = [need(entry, 'title', str, f'a class of {meta_file}') for entry in entries]
    if not classes:
        raise SetupError(f'{meta_file} has no class; export the project with its classes')
    places = _annotation_folders(folder)
    files = {place: sorted(place.glob('*.json')) for place in places}
    if not any(files.values()):
        raise SetupError(
            f'{folder} has no file of annotations, looked for were {folder}/DATASET/ann/*.json; export the project with its annotations'
        )
    reader = _Reader(meta_file, classes, line_width)
    found: list[AnnotatedImage] = []
    for place, names in files.items():
        found += _data_set(place, names, folder, images, reader)
    if images is not None:
        # with one folder for all data sets, an image without a file belongs to none of them
        found += _others(images, found)
    reader.counts[NOTHING] += sum(not image.annotated for image in found)
    colours = {e['title']: str(e.get('color', '')).lower() for e in entries}
    used = {region.label for image in found for region in image.regions}
    without = {e['title'] for e in entries if e.get('shape') in _LINES + _OTHERS} - used
    return Export(
        format='Supervisely',
        source=path,
        classes=[name for name in classes if name not in without],
        images=sorted_images(found, path, reader.counts),
        overlap='of two figures the later one in the file is on top',
        unmarked=('background', "Supervisely's own masks are 0 where no figure is"),
        colours={
            name: colour
            for name, colour in colours.items()
            if name not in without and re.fullmatch('#[0-9a-f]{6}', colour)
        },
        counts=+reader.counts,
    )


def _data_set(
    place: Path, files: list[Path], root: Path, images: Path | None, reader: _Reader
) -> list[AnnotatedImage]:
    """The images of one data set."""
    own = place.parent / 'img'
    folders = [images] if images is not None else [own]
    finder, stems = ImageFiles(folders), ImageStems(folders)
    name = place.parent.relative_to(root).as_posix()
    prefix = '' if name == '.' else f'{name}/'
    found = []
    for file in files:
        stem = file.name.removesuffix('.json')
        whole = '.' + stem.rpartition('.')[2].lower() in ANY_IMAGE_SUFFIXES
        # projects of old write no ending of the image
        image_file = finder.find(prefix + stem) if whole else stems.find(prefix + stem)
        shown = prefix + (image_file.name if image_file else stem)
        image = AnnotatedImage(shown, image_file, part=part_of(place.parent.name))
        reader.fill(image, file)
        found.append(image)
    if images is None and own.is_dir():
        found += _others(own, found, prefix, part_of(place.parent.name))
    return found


def _others(
    folder: Path, found: list[AnnotatedImage], prefix: str = '', part: str | None = None
) -> list[AnnotatedImage]:
    """Images of a folder without a file of annotations."""
    used = {image.path.resolve() for image in found if image.path}
    return [
        AnnotatedImage(
            prefix + path.relative_to(folder).as_posix(), path, annotated=False, part=part
        )
        for path in walk_images(folder)
        if path.resolve() not in used
    ]


@dataclass
class _Reader:
    """Reads the files of annotations of a project."""

    meta: Path
    classes: list[str]
    line_width: float
    counts: Counter = field(default_factory=Counter)

    def fill(self, image: AnnotatedImage, file: Path) -> None:
        """Give an image the size and the regions of its file."""
        content = read_json(file)
        size = need(content, 'size', dict, str(file))
        image.size = size_of(size.get('width'), size.get('height'), str(file))
        for number, figure in enumerate(need(content, 'objects', list, str(file))):
            image.regions += self._regions(figure, image.size, f'figure {number} of {file}')
        image.annotated = bool(image.regions)

    def _regions(self, figure: Any, size: tuple[int, int], where: str) -> list[Region]:
        """The regions of a figure: several of a multipolygon, else one or none."""
        label = need(figure, 'classTitle', str, where)
        if label not in self.classes:
            raise SetupError(
                f"{where} is of the class '{label}', which {self.meta} lacks ({', '.join(self.classes)}); export the project again"
            )
        kind = self._kind(figure, where)
        if kind in _OTHERS:
            self.counts[NO_AREA] += 1
            return []
        if kind in ('bitmap', 'alpha_mask'):
            return [_bitmap(need(figure, 'bitmap', dict, where), label, where)]
        if kind == 'multipolygon':
            parts = need(figure, 'parts', list, where)
            regions = [self._polygon(part, label, size, where) for part in parts]
            return [region for region in regions if region is not None]
        points = need(figure, 'points', dict, where)
        if kind == 'polygon':
            region = self._polygon(points, label, size, where)
        else:
            ring = ring_of(need(points, 'exterior', list, where), where)
            if kind == 'rectangle':
                region = Region(label, (_rectangle(ring, where),))
            else:  # corners are pixels: their centres are half a pixel away
                region = line_region(
                    label, ring + 0.5, self.line_width, self.counts, joined=kind != 'point'
                )
        return [] if region is None else [region]

    def _kind(self, figure: dict, where: str) -> str:
        """The geometry of a figure; projects of old name it by what the figure has."""
        kind = figure.get('geometryType')
        if kind is None:
            kind = 'bitmap' if figure.get('bitmap') else 'polygon'
        if kind not in _AREAS + _LINES + _OTHERS:
            known = ', '.join(_AREAS + _LINES + _OTHERS)
            raise SetupError(
                f"{where} is of the geometry '{kind}', expected one of {known}; export a project of images"
            )
        return kind

    def _polygon(self, points: Any, label: str, size: tuple[int, int], where: str) -> Region | None:
        ring = ring_of(need(points, 'exterior', list, where), where)
        holes = [ring_of(hole, where) for hole in optional(points, 'interior', list, [], where)]
        return pixel_region(label, ring, holes, size, fill_as_opencv, self.counts)


def _rectangle(ring: np.ndarray, where: str) -> np.ndarray:
    """The corners of a rectangle whose last row and column belong to it."""
    if len(ring) != 2:
        raise SetupError(
            f'{where} is a rectangle of {len(ring)} corners, expected two; export it again'
        )
    (left, top), (right, bottom) = np.floor(ring.min(0)), np.floor(ring.max(0))
    return rectangle_ring(left, top, right + 1, bottom + 1)


def _bitmap(bitmap: dict, label: str, where: str) -> Region:
    """A painted mask: a PNG, packed by zlib and written in base64, and where its upper left corner is."""
    data = need(bitmap, 'data', str, where)
    origin = ring_of(need(bitmap, 'origin', list, where), where)
    if len(origin) != 1:
        raise SetupError(
            f"{where} has {len(origin)} places in 'origin', expected one x and y; export it again"
        )
    content = _png(data, where)
    left, top = np.floor(origin[0]).astype(int).tolist()
    return Region(label, mask=partial(_decode, content, where), offset=(left, top))


def _png(data: str, where: str) -> bytes:
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise SetupError(
            f'{where} has a bitmap that is no base64 ({error}); export it again'
        ) from error
    if content.startswith(b'\x89PNG'):
        return content
    try:
        return zlib.decompress(content)
    except zlib.error as error:
        raise SetupError(
            f'{where} has a bitmap that cannot be unpacked ({error}); export it again'
        ) from error


def _decode(content: bytes, where: str) -> np.ndarray:
    """(h, w) bool: alpha of an image of four channels, else any value but 0."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode == 'P':
                image = image.convert('RGBA' if 'transparency' in image.info else 'RGB')
            values = np.asarray(image)
    except Exception as error:  # each decoder raises its own kinds
        raise SetupError(
            f'{where} has a bitmap that is no PNG ({error}); export it again'
        ) from error
    if values.ndim == 3:
        values = values[..., 3] if values.shape[2] == 4 else values.any(-1)
    return values.astype(bool)
