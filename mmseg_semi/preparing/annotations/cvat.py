"""CVAT's XML, 'CVAT for images 1.1', as CVAT and datumaro write it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import BY_NAME, ImageFiles
from mmseg_semi.preparing.annotations.image_lists import (
    found_elsewhere,
    image_folders,
    part_of,
    sorted_images,
)
from mmseg_semi.preparing.annotations.shapes import (
    ellipse_ring,
    line_region,
    rectangle_ring,
    runs_mask,
)
from mmseg_semi.preparing.annotations.texts import head, ring_of, size_of
from mmseg_semi.preparing.annotations.xml_files import read_xml

TITLE = 'CVAT for images 1.1 (annotations.xml, or a folder that holds it)'

VERSION = '1.1'
NO_AREA = 'cuboids and skeletons, which are no regions of the image, left out'
TAGS = 'tags, which are classes of whole images, left out'
NOTHING = 'images without a shape, unlabelled'

_AREAS = ('polygon', 'box', 'ellipse', 'mask')
_LINES = ('polyline', 'points')
_OTHERS = ('cuboid', 'skeleton')
_NO_REGIONS = ('tag', 'skeleton', 'cuboid', 'points')
"""Types of labels that never become a region."""


def matches(path: Path) -> bool:
    """Whether this is an XML file of CVAT, or a folder that holds one directly."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The XML files of an export: one, or one for each subset as datumaro writes it."""
    candidates = sorted(path.glob('*.xml')) if path.is_dir() else [path]
    return [file for file in candidates if _is_cvat(file)]


def _is_cvat(path: Path) -> bool:
    if path.suffix.lower() != '.xml':
        return False
    start = head(path)
    root = re.search(r'<annotations[\s>/]', start)
    return bool(root) and re.search(r'<(version|meta|image|track)[\s>]', start) is not None


def read(path: Path, images: Path | None, line_width: float = 0.0) -> Export:
    """Read an XML file of CVAT.

    Args:
        path: The file, or a folder that holds it.
        images: Folder of the images, or None if they are beside the file, as in an export with images.
        line_width: Polylines become areas of this width in pixels; 0 leaves them out.

    Raises:
        SetupError: If the file is empty or cut off, of another version or of a video, or a shape contradicts its list of labels or its
            image.
    """
    files = _files(path) or ([path] if path.is_file() else sorted(path.glob('*.xml')))
    if not files:
        raise SetupError(
            f"{path} holds no XML file of CVAT; export as 'CVAT for images 1.1' and unpack the archive"
        )
    root = path if path.is_dir() else path.parent
    finder = ImageFiles(image_folders(root, images))
    counts: Counter = Counter()
    colours: dict[str, str] = {}
    classes: dict[str, None] = {}
    found: list[AnnotatedImage] = []
    for file in files:
        document = _open(file)
        listed = _labels(document, colours)
        names = None if listed is None else {name: None for name in listed}
        subset = file.stem if len(files) > 1 else None
        for element in document.iter('image'):
            reader = _ImageReader(file, names, line_width, counts)
            found.append(reader.read(element, finder, subset))
        classes.update(
            {name: None for name, kind in (listed or {}).items() if _has_area(kind, line_width)}
        )
    used = {region.label for image in found for region in image.regions}
    classes.update(dict.fromkeys(sorted(used - set(classes))))
    counts[NOTHING] += sum(not image.annotated for image in found)
    return Export(
        format='CVAT for images',
        source=path,
        classes=list(classes),
        images=sorted_images(found, path, counts),
        overlap='the shape with the larger z_order is on top, of equal ones the later one in the file',
        unmarked=('background', 'CVAT writes masks with the class background where no shape is'),
        colours={name: colour for name, colour in colours.items() if name in classes},
        version=VERSION,
        counts=+counts,
    )


def _has_area(kind: str, line_width: float) -> bool:
    return kind not in _NO_REGIONS and (kind != 'polyline' or line_width > 0)


def _open(file: Path) -> Element:
    """The root element of a file that is an export of images."""
    document = read_xml(file, "CVAT's 'CVAT for images 1.1'")
    if document.tag != 'annotations':
        raise SetupError(
            f"{file} begins with <{document.tag}>, expected <annotations>; export as 'CVAT for images 1.1'"
        )
    version = (document.findtext('version') or '').strip()
    if version != VERSION:
        raise SetupError(
            f"{file} is of the version '{version}', expected {VERSION}; export as 'CVAT for images 1.1'"
        )
    if document.find('image') is None:
        if document.find('track') is not None:
            raise SetupError(
                f"{file} holds tracks of a video ('CVAT for video 1.1'); export the same task as 'CVAT for images 1.1', which has the shapes "
                'of every frame'
            )
        raise SetupError(f"{file} names no image; export the task as 'CVAT for images 1.1'")
    return document


def _labels(document: Element, colours: dict[str, str]) -> dict[str, str] | None:
    """Label -> its type, of all labels but the points of skeletons; None if the file has no list. Adds to the colours."""
    lists = [labels for labels in document.iter('labels')]
    if not lists:
        return None
    found: dict[str, str] = {}
    for labels in lists:
        for label in labels.findall('label'):
            name = label.findtext('name') or ''
            if label.find('parent') is not None or not name:
                continue
            found[name] = (label.findtext('type') or 'any').strip()
            colour = (label.findtext('color') or '').strip().lower()
            if re.fullmatch('#[0-9a-f]{6}', colour):
                colours[name] = colour
    return found


class _ImageReader:
    """Reads the shapes of one <image>."""

    def __init__(
        self, file: Path, labels: dict[str, None] | None, line_width: float, counts: Counter
    ) -> None:
        self.file, self.labels, self.line_width, self.counts = file, labels, line_width, counts
        self.where = str(file)

    def read(self, element: Element, finder: ImageFiles, subset: str | None) -> AnnotatedImage:
        """The image with its regions."""
        name = (element.get('name') or '').replace('\\', '/')
        if not name:
            raise SetupError(f'{self.file} has an image without a name; export it again')
        self.where = f'the image {name} of {self.file}'
        subset = element.get('subset') or subset
        if subset and subset != 'default':
            # exports of projects keep images in a folder of each subset
            path = finder.find(f'{subset}/{name}')
            shown = f'{subset}/{name}'
        else:
            path, shown = finder.find(name), name
        self.counts[BY_NAME] += found_elsewhere(name, path)
        image = AnnotatedImage(shown, path, self._size(element), part=part_of(subset))
        for shape in element:
            region = self._region(shape)
            if region is not None:
                image.regions.append(region)
        image.annotated = bool(image.regions)
        return image

    def _size(self, element: Element) -> tuple[int, int] | None:
        if element.get('width') is None and element.get('height') is None:
            return None
        width, height = (int(self._number(element, key)) for key in ('width', 'height'))
        return size_of(width, height, self.where)

    def _region(self, shape: Element) -> Region | None:
        """The region of a shape, None if it has none."""
        kind = shape.tag
        if kind == 'tag':
            self.counts[TAGS] += 1
            return None
        if kind in _OTHERS:
            self.counts[NO_AREA] += 1
            return None
        if kind not in _AREAS + _LINES:
            known = ', '.join(_AREAS + _LINES + _OTHERS)
            raise SetupError(
                f"{self.where} has a <{kind}>, expected one of {known}; export as 'CVAT for images 1.1'"
            )
        label = self._label(shape)
        order = self._number(shape, 'z_order', 0.0)
        if kind in _LINES:
            points = self._points(shape)
            joined = kind == 'polyline'
            return line_region(label, points, self.line_width, self.counts, order, joined)
        if kind == 'mask':
            return self._mask(shape, label, order)
        ring = getattr(self, f'_{kind}')(shape)
        return Region(label, (ring,), order=order)

    def _label(self, shape: Element) -> str:
        label = shape.get('label') or ''
        if self.labels is not None and label not in self.labels:
            raise SetupError(
                f"{self.where} has a {shape.tag} of the class '{label}', which the file's list of labels lacks ({', '.join(self.labels)}); "
                'export it again, or add the label to the list'
            )
        return label

    def _points(self, shape: Element) -> np.ndarray:
        text = (shape.get('points') or '').strip()
        return ring_of([pair.split(',') for pair in text.split(';') if pair], self.where)

    _polygon = _points

    def _box(self, shape: Element) -> np.ndarray:
        corners = [self._number(shape, key) for key in ('xtl', 'ytl', 'xbr', 'ybr')]
        return rectangle_ring(*corners, degrees=self._number(shape, 'rotation', 0.0))

    def _ellipse(self, shape: Element) -> np.ndarray:
        values = [self._number(shape, key) for key in ('cx', 'cy', 'rx', 'ry')]
        return ellipse_ring(*values, degrees=self._number(shape, 'rotation', 0.0))

    def _mask(self, shape: Element, label: str, order: float) -> Region:
        try:
            counts = [int(value) for value in (shape.get('rle') or '').split(',')]
        except ValueError as error:
            raise SetupError(
                f'{self.where} has a mask whose rle is no list of numbers; export it again'
            ) from error
        left, top, width, height = (
            int(self._number(shape, key)) for key in ('left', 'top', 'width', 'height')
        )
        mask = runs_mask(counts, width, height, f'{self.where}, class {label},')
        return Region(label, mask=mask, offset=(left, top), order=order)

    def _number(self, element: Element, key: str, default: float | None = None) -> float:
        text = element.get(key)
        if text is None and default is not None:
            return default
        try:
            value = float(text or '')
        except ValueError:
            value = float('nan')
        if not np.isfinite(value):
            raise SetupError(
                f'{self.where} has <{element.tag}> with {key}={text!r}, expected a number; export it again'
            )
        return value
