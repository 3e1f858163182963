"""Label Studio's JSON export: polygons, brush strokes, rectangles and ellipses."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from mmseg_semi.data.decoding.files import ANY_IMAGE_SUFFIXES
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import BY_NAME, ImageFiles, plain_name, read_header
from mmseg_semi.preparing.annotations.image_lists import (
    found_elsewhere,
    image_folders,
    sorted_images,
)
from mmseg_semi.preparing.annotations.label_studio_rle import as_bytes, count_values, decode_alpha
from mmseg_semi.preparing.annotations.shapes import ellipse_ring, rectangle_ring
from mmseg_semi.preparing.annotations.texts import head, need, optional, read_json, ring_of, size_of

TITLE = "Label Studio (its export 'JSON', not 'JSON-MIN')"

NO_AREA = 'key points, lines and other results without an area, left out'
NO_CLASS = 'regions without a class, whose pixels are ignored'
SEVERAL_CLASSES = 'regions of several classes, which have the first one'
SEVERAL = 'tasks with several annotations, of which the latest is taken'
CANCELLED = 'cancelled (skipped) annotations, left out'
NOTHING = 'tasks without an annotation, unlabelled'
PREDICTED = 'tasks with predictions alone, which are no annotations, unlabelled'
TURNED = 'tasks whose image was turned in the tool, unlabelled'

_UPLOADED = re.compile(
    '^[0-9a-f]{8}-'
)  # Label Studio puts this before the name of an uploaded file
_OF_A_TASK = ('completed_by', 'file_upload', 'lead_time', 'was_cancelled', 'total_annotations')


def matches(path: Path) -> bool:
    """Whether this is a JSON file of Label Studio, or a folder that holds one directly."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    candidates = sorted(path.glob('*.json')) if path.is_dir() else [path]
    return [file for file in candidates if _is_label_studio(file)]


def _is_label_studio(path: Path) -> bool:
    start = head(path).lstrip() if path.suffix.lower() == '.json' else ''
    if not re.match(r'\[\s*\{', start):
        return False

    def has(*keys: str) -> bool:
        return any(re.search(rf'"{key}"\s*:', start) for key in keys)

    tasks = has('annotations', 'completions') and has('data', *_OF_A_TASK)
    return tasks or has('annotation_id')  # the latter is JSON-MIN, which read() refuses


def read(path: Path, images: Path | None) -> Export:
    """Read a JSON export of Label Studio.

    Args:
        path: The file, or a folder that holds it.
        images: Folder of the images; None looks beside the file. Label Studio exports no images.

    Raises:
        SetupError: If the file is empty, cut off or JSON-MIN, or a result contradicts its image.
    """
    files = _files(path) or ([path] if path.is_file() else [])
    if len(files) != 1:
        raise SetupError(
            f'{path} holds {len(files)} JSON files of Label Studio; give the one file that is to be read'
        )
    root = path if path.is_dir() else path.parent
    reader = _Reader(files[0], ImageFiles(image_folders(root, images)))
    tasks = read_json(files[0])
    if not isinstance(tasks, list) or not tasks:
        raise SetupError(f"{files[0]} holds no task; export as 'JSON' from the project")
    found = [reader.image(task) for task in tasks]
    used = {region.label for image in found for region in image.regions}
    return Export(
        format='Label Studio',
        source=path,
        classes=sorted(used - {None}),
        images=sorted_images(found, path, reader.counts),
        overlap='Label Studio exports no depth: of two regions the later one in the file is on top',
        unmarked=('background', "Label Studio's own exports of masks are 0 where no region is"),
        counts=+reader.counts,
    )


@dataclass
class _Reader:
    """Reads tasks of one file."""

    file: Path
    finder: ImageFiles
    counts: Counter = field(default_factory=Counter)

    def image(self, task: Any) -> AnnotatedImage:
        """The image of a task with the regions of its annotation."""
        if not isinstance(task, dict) or not isinstance(task.get('data'), dict):
            raise SetupError(
                f"{self.file} has a task without 'data'; it is JSON-MIN or no export of tasks, export as 'JSON' instead"
            )
        where = f'task {task.get("id")} of {self.file}'
        image = self._named(_address(task['data'], where), task)
        chosen = self._chosen(task, where)
        if chosen is None:
            image.annotated = False
            return image
        results = need(chosen, 'result', list, where)
        if any(isinstance(each, dict) and each.get('image_rotation') for each in results):
            self.counts[TURNED] += 1
            image.annotated = False
            return image
        for group in _groups(results, where):
            region, size = self._region(group, image, where)
            if size is not None and image.size not in (None, size):
                raise SetupError(
                    f'{where} has results of images of {image.size} and of {size} pixels, expected one image; export it again'
                )
            image.size = size or image.size
            if region is not None:
                image.regions.append(region)
        return image

    def _named(self, address: str, task: dict) -> AnnotatedImage:
        """The image of an address, without its regions."""
        if address.startswith('data:'):
            kind = address.partition(';')[0].rpartition('/')[2]
            content = partial(_embedded, address, f'task {task.get("id")} of {self.file}')
            return AnnotatedImage(f'task {task.get("id")}.{kind}', None, content=content)
        name = _name(address)
        path = self.finder.find(name)
        folder, _, last = name.rpartition('/')
        if path is None and _UPLOADED.match(last):
            path = self.finder.find(f'{folder}/{_UPLOADED.sub("", last)}'.lstrip('/'))
        if path is None:
            return AnnotatedImage(name, None)
        self.counts[BY_NAME] += found_elsewhere(name, path)
        base = next(
            (each for each in self.finder.folders if path.is_relative_to(each)), path.parent
        )
        return AnnotatedImage(path.relative_to(base).as_posix(), path)

    def _chosen(self, task: dict, where: str) -> dict | None:
        """The annotation of a task that counts: the latest that was not cancelled."""
        every = task.get('annotations', task.get('completions'))
        if not isinstance(every, list) or not all(isinstance(each, dict) for each in every):
            raise SetupError(
                f"{where} has no list 'annotations'; export as 'JSON', which has the results of each task"
            )
        kept = [each for each in every if not each.get('was_cancelled')]
        self.counts[CANCELLED] += len(every) - len(kept)
        if not kept:
            self.counts[PREDICTED if task.get('predictions') else NOTHING] += 1
            return None
        self.counts[SEVERAL] += len(kept) > 1
        return max(kept, key=_moment)

    def _region(
        self, group: list[dict], image: AnnotatedImage, where: str
    ) -> tuple[Region | None, tuple[int, int] | None]:
        """The region of the results of one id, None if it has none, and its image's (width, height)."""
        shown = [each for each in group if _has_place(each)]
        if not shown:  # a choice, a text, a relation
            return None, None
        result = next((each for each in shown if each.get('type') != 'labels'), shown[0])
        if 'original_width' in result:
            width, height = size_of(result['original_width'], result.get('original_height'), where)
        elif image.path is not None:  # annotations that another program brought in
            width, height = read_header(image.path).size
        else:
            return None, None
        where = f'{where}, result {result.get("id")}'
        shape = _shape(result, width, height, where)
        if shape is None:
            self.counts[NO_AREA] += 1
            return None, (width, height)
        labels = [name for each in group for name in _labels(each)]
        self.counts[NO_CLASS] += not labels
        self.counts[SEVERAL_CLASSES] += len(set(labels)) > 1
        label = labels[0] if labels else None
        if isinstance(shape, np.ndarray):
            return Region(label, (shape,)), (width, height)
        return Region(label, mask=shape), (width, height)


def _groups(results: list, where: str) -> list[list[dict]]:
    """Results by their id: a region and its class may be two results."""
    groups: dict[str, list[dict]] = {}
    for number, result in enumerate(results):
        if not isinstance(result, dict):
            raise SetupError(
                f'{where} has the result {result!r:.60}, expected an object; export it again'
            )
        groups.setdefault(str(result.get('id') or f'result {number}'), []).append(result)
    return list(groups.values())


def _has_place(result: dict) -> bool:
    """Whether a result is somewhere in the image."""
    value = result.get('value')
    keys = {'points', 'rle', 'x', 'vertices', 'imageDataURL', 'maskDataURL'}
    return isinstance(value, dict) and bool(keys & set(value))


def _labels(result: dict) -> list[str]:
    """The classes that a result names."""
    value = result.get('value')
    lists = (
        [v for key, v in value.items() if key.endswith('labels')] if isinstance(value, dict) else []
    )
    return [str(name) for names in lists if isinstance(names, list) for name in names]


def _shape(
    result: dict, width: int, height: int, where: str
) -> np.ndarray | Callable[[], np.ndarray] | None:
    """A polygon in pixels, a function that gives a mask, or None for what has no area."""
    value = need(result, 'value', dict, where)
    kind = str(result.get('type', ''))
    scale = np.array([width, height]) / 100  # coordinates are percentages
    if 'rle' in value:
        rle = as_bytes(need(value, 'rle', list, where), where)
        if count_values(rle, where) != width * height * 4:
            decode_alpha(rle, width, height, where)  # raises
        return partial(decode_alpha, rle, width, height, where)
    if kind.startswith(('brush', 'bitmask')):
        raise SetupError(
            f"{where} is a '{kind}' without 'rle'; draw with BrushLabels and export as 'JSON', which has the run lengths"
        )
    if kind.startswith('polygon') or (kind == 'labels' and 'points' in value):
        ring = ring_of(need(value, 'points', list, where), where) * scale
        return ring if value.get('closed', True) else None
    number = (int, float)
    turn = optional(value, 'rotation', number, 0, where)
    if 'radiusX' in value:
        x, y, rx, ry = (need(value, key, number, where) for key in ('x', 'y', 'radiusX', 'radiusY'))
        return ellipse_ring(*scale * (x, y), *scale * (rx, ry), turn)
    if 'width' in value and 'height' in value:
        x, y, w, h = (need(value, key, number, where) for key in ('x', 'y', 'width', 'height'))
        corner, opposite = scale * (x, y), scale * (x + w, y + h)
        return rectangle_ring(*corner, *opposite, degrees=turn, about=tuple(corner))
    return None


def _moment(annotation: dict) -> tuple[str, int]:
    """When an annotation was last changed; ISO times sort as text."""
    time = annotation.get('updated_at') or annotation.get('created_at') or ''
    number = annotation.get('id')
    return str(time), number if isinstance(number, int) else 0


def _address(data: dict, where: str) -> str:
    """The address of a task's image."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if texts.get('image'):
        return texts['image']
    found = [
        value for value in texts.values() if value.startswith('data:image/') or _is_image(value)
    ]
    if len(found) != 1:
        raise SetupError(
            f"{where} names {len(found)} images in its 'data' ({', '.join(data)}), expected one; export tasks of one image each"
        )
    return found[0]


def _is_image(address: str) -> bool:
    return '.' + _name(address).rpartition('.')[2].lower() in ANY_IMAGE_SUFFIXES


def _name(address: str) -> str:
    """The file of an address, without its host and Label Studio's own folders.

    Example:
        >>> _name('/data/local-files/?d=photos/a%20b.jpg'), _name('/data/upload/3/0a1b2c3d-c.jpg')
        ('photos/a b.jpg', '0a1b2c3d-c.jpg')
        >>> _name('https://example.org/photos/d.jpg?size=large')
        'photos/d.jpg'
    """
    parts = urlsplit(address)
    local = parse_qs(parts.query).get('d')
    name = local[0] if local and 'local-files' in parts.path else unquote(parts.path)
    if parts.scheme in ('', 'http', 'https'):
        name = re.sub(r'^.*/data/upload/(\d+/)?', '', name)
    return plain_name(name if len(parts.scheme) != 1 else address)  # 'C:' is no scheme


def _embedded(address: str, where: str) -> bytes:
    """The image that a task carries."""
    try:
        return base64.b64decode(address.partition(',')[2], validate=True)
    except binascii.Error as error:
        raise SetupError(
            f'{where} has an image that is no base64 ({error}); export it again'
        ) from error
