"""Predictions as COCO annotations, to be corrected in an annotation tool and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import contourpy
import cv2
import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.labels import IGNORE

KINDS = ('polygons', 'rle')

BLOCK = 2048
"""Outlines are traced in blocks of this many pixels a side: a region that is cut has a polygon in each of them."""


def require_pycocotools():
    """The module ``pycocotools.mask``.

    Raises:
        SetupError: If it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise SetupError(
            f'--coco rle needs pycocotools, which cannot be imported ({error}); install it: pip install pycocotools'
        ) from error
    return mask


def outlines(region: np.ndarray, tolerance: float = 0.0) -> list[np.ndarray]:
    """Outer outlines of the parts of a region, without the outlines of holes.

    An outline passes between the centres of the pixels inside and outside (marching squares at a half), so that
    the pixels whose centres it encloses are the region and its holes.

    Args:
        region: (h, w) bool.
        tolerance: Distance in pixels up to which corners are left out (Douglas-Peucker); 0 leaves out none but those
            on a straight line.

    Returns:
        Of each part (n, 2) float64: x, y in pixels, the origin in the upper left corner of the first pixel.

    Example:
        >>> outlines(np.ones((1, 1), bool))[0].tolist()
        [[0.0, 0.5], [0.5, 0.0], [1.0, 0.5], [0.5, 1.0]]
    """
    padded = np.pad(region, 1).astype(np.float64)
    generator = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset)
    found = []
    for points, offsets in zip(*generator.filled(0.5, 2.0), strict=True):
        # the first ring of a part is its outline; it ends where it began
        ring = points[: offsets[1] - 1] - 0.5
        simple = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, True)[:, 0]
        ring = simple.astype(np.float64) if len(simple) >= 3 else ring
        found.append(ring.clip(0, (region.shape[1], region.shape[0])))
    return found


def polygon_area(ring: np.ndarray) -> float:
    """Area of a polygon in square pixels.

    Example:
        >>> polygon_area(np.array([(0, 0), (2, 0), (2, 1), (0, 1)]))
        2.0
    """
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def polygons(labels: np.ndarray, tolerance: float = 0.5) -> list[tuple[int, np.ndarray]]:
    """Polygons of all classes of a label map, so that one drawn later covers those before it.

    Polygons have no holes: that of a region encloses what lies within it. A region within it has a smaller outline, so
    in the order of falling areas it comes later. Readers of COCO draw annotations in their order. No polygon encloses
    pixels to ignore, which nothing would be drawn over: a region around some is cut there.

    Args:
        labels: (H, W) uint8, a class or 255.
        tolerance: Of :func:`outlines`.

    Returns:
        (label, ring) by falling area.
    """
    found: list[tuple[float, int, np.ndarray]] = []
    for top in range(0, labels.shape[0], BLOCK):
        for left in range(0, labels.shape[1], BLOCK):
            block = labels[top : top + BLOCK, left : left + BLOCK]
            for row, part in _without_enclosed(block):
                values = np.flatnonzero(np.bincount(part.ravel(), minlength=256)[:IGNORE])
                for value in values.tolist():
                    for ring in outlines(part == value, tolerance):
                        found.append((polygon_area(ring), value, ring + (left, top + row)))
    found.sort(key=lambda entry: -entry[0])
    return [(value, ring) for _, value, ring in found]


def _without_enclosed(block: np.ndarray, row: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a block into bands of rows until all pixels to ignore touch a border of their band; (first row, band)."""
    ignored = (block == IGNORE).astype(np.uint8)
    if ignored.any():
        count, _, boxes, _ = cv2.connectedComponentsWithStats(ignored, connectivity=8)
        height, width = block.shape
        for left, top, across, down, _ in boxes[1:count].tolist():
            if left and top and left + across < width and top + down < height:
                cut = top + down // 2
                yield from _without_enclosed(block[:cut], row)
                yield from _without_enclosed(block[cut:], row + cut)
                return
    yield row, block


class CocoFile:
    """Annotations of many images.

    Categories have the ids 1 to K in the order of the classes. With polygons there is an annotation for each part of
    a region; with RLE one for each class of an image, exact to the pixel.

    Args:
        classes: Names of the K classes.
        kind: 'polygons' or 'rle'.
        tolerance: Of polygons, see :func:`outlines`.
    """

    def __init__(self, classes: Sequence[str], kind: str, tolerance: float = 0.5) -> None:
        self.kind, self.tolerance, self.count = kind, tolerance, len(classes)
        self._coder = require_pycocotools() if kind == 'rle' else None
        self.content: dict = {
            'info': {'description': 'label maps of mmseg_semi'},
            'images': [],
            'categories': [{'id': i + 1, 'name': n} for i, n in enumerate(classes)],
            'annotations': [],
        }

    def add(self, name: str, labels: np.ndarray) -> None:
        """Add an image.

        Args:
            name: Its path relative to the folder of images, with '/'.
            labels: (H, W) uint8, a class or 255.
        """
        height, width = labels.shape
        number = self.add_image(name, width, height)
        found = self._rle(labels) if self.kind == 'rle' else self._polygons(labels)
        for entry in found:
            identity = len(self.content['annotations']) + 1
            self.content['annotations'].append({'id': identity, 'image_id': number, **entry})

    def add_image(self, name: str, width: int, height: int) -> int:
        """Add an image without annotations; returns its number."""
        number = len(self.content['images']) + 1
        self.content['images'].append(
            {'id': number, 'file_name': name, 'width': width, 'height': height}
        )
        return number

    def _polygons(self, labels: np.ndarray) -> Iterator[dict]:
        for value, ring in polygons(labels, self.tolerance):
            low, high = ring.min(0), ring.max(0)
            yield {
                'category_id': value + 1,
                'segmentation': [ring.round(2).ravel().tolist()],
                'area': round(polygon_area(ring), 2),
                'bbox': [round(float(v), 2) for v in (*low, *(high - low))],
                'iscrowd': 0,
            }

    def _rle(self, labels: np.ndarray) -> Iterator[dict]:
        for value in range(self.count):
            region = labels == value
            if not region.any():
                continue
            code = self._coder.encode(np.asfortranarray(region.astype(np.uint8)))
            yield {
                'category_id': value + 1,
                'segmentation': {
                    'size': list(code['size']),
                    'counts': code['counts'].decode('ascii'),
                },
                'area': int(self._coder.area(code)),
                'bbox': self._coder.toBbox(code).tolist(),
                'iscrowd': 0,
            }

    def write(self, path: Path) -> None:
        """Write the file."""
        write_whole(path, json.dumps(self.content) + '\n')
