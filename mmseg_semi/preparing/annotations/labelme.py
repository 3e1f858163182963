"""labelme's JSON files, one beside each image."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.drawing import circle_ring, line_rings
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import BY_NAME, ImageFiles, plain_name, walk_images
from mmseg_semi.preparing.annotations.texts import head, need, read_json, ring_of

TITLE = "labelme (a folder of JSON files with 'shapes', beside the images)"

LINES = 'lines and points, which have no area, left out (--line-width makes areas of lines)'
EMPTY = 'files without a shape, whose images are unlabelled'
EMBEDDED = 'images taken out of their JSON file'

_KEYS = r'"shapes"\s*:\s*\[|"image(Data|Path)"\s*:'

_CORNERS = ('polygon', 'rectangle', 'oriented_rectangle', 'rotation')
_LINES = ('line', 'linestrip', 'point', 'points')
_SHAPES = (*_CORNERS, *_LINES, 'circle', 'mask')


def matches(path: Path) -> bool:
    """Whether this is a file of labelme, or a folder that holds one."""
    if path.is_file():
        return _is_labelme(path)
    return any(_is_labelme(file) for file in path.rglob('*.json'))


def _is_labelme(path: Path) -> bool:
    start = head(path) if path.suffix.lower() == '.json' else ''
    # the image inside may come first, and then fills what was read
    return start.lstrip().startswith('{') and re.search(_KEYS, start) is not None


def read(path: Path, images: Path | None, line_width: float = 0.0) -> Export:
    """Read the JSON files of a folder. Images of the folder without a file are unlabelled.

    Args:
        path: A folder, searched with its subfolders, or one file.
        images: Folder of the images, or None if they are where the files say.
        line_width: Lines and points become areas of this width in pixels; 0 leaves them out.

    Raises:
        SetupError: If a file is empty or misses what labelme writes, or two files are of one image.
    """
    root = path if path.is_dir() else path.parent
    files = (
        [path]
        if path.is_file()
        else sorted(
            file for file in path.rglob('*.json') if _is_labelme(file) or not file.stat().st_size
        )
    )
    if not files:
        raise SetupError(
            f"{path} holds no file of labelme, looked for were JSON files with 'shapes'; give the folder of these files"
        )
    finder = ImageFiles([images] if images is not None else [root])
    counts: Counter = Counter()
    found: dict[Path | str, tuple[AnnotatedImage, Path]] = {}
    versions = set()
    for file in files:
        content = read_json(file)
        image = _read_file(file, content, root, images, finder, line_width, counts)
        versions.add(str(content.get('version', '')))
        key = image.path.resolve() if image.path else image.name
        if key in found:
            raise SetupError(
                f'the files {found[key][1]} and {file} are both of the image {image.name}; remove one of them'
            )
        found[key] = image, file
    counts[BY_NAME] += finder.by_name
    if path.is_dir() or images is not None:
        for other in walk_images(images or root):
            if other.resolve() not in found:
                name = other.relative_to(images or root).as_posix()
                found[other.resolve()] = AnnotatedImage(name, other, annotated=False), other
    result = sorted((image for image, _ in found.values()), key=lambda image: image.name)
    return Export(
        format='labelme',
        source=path,
        classes=_classes(root, result),
        images=result,
        overlap='labelme has no depth: of two shapes the later one in the file is on top',
        unmarked=('background', "labelme's own converters make what no shape covers background"),
        version=', '.join(sorted(versions - {''})),
        counts=counts,
    )


def _classes(root: Path, images: list[AnnotatedImage]) -> list[str]:
    """The labels, in the order of labels.txt if labelme's list of labels is there, else by name."""
    used = sorted({r.label for image in images for r in image.regions if r.label is not None})
    file = root / 'labels.txt'
    listed = file.read_text(encoding='utf-8-sig').split('\n') if file.is_file() else []
    names = [_label(line.strip()) for line in listed if line.strip()]
    return list(dict.fromkeys([*(name for name in names if name), *used]))


def _label(text: str) -> str | None:
    """The class of a label; labelme's converters have two names of their own."""
    return {'__ignore__': None, '_background_': 'background'}.get(text, text)


def _read_file(
    file: Path,
    content: dict,
    root: Path,
    images: Path | None,
    finder: ImageFiles,
    line_width: float,
    counts: Counter,
) -> AnnotatedImage:
    """The image of one JSON file."""
    shapes = need(content, 'shapes', list, f'the labelme file {file}')
    named = need(content, 'imagePath', str, f'the labelme file {file}')
    place = _find(file, named, images is None, finder)
    base = images if images is not None else root
    if place is not None and place.is_relative_to(base):
        name = place.relative_to(base).as_posix()
    else:
        name = (file.relative_to(root).parent / plain_name(named).rpartition('/')[2]).as_posix()
    size = content.get('imageWidth'), content.get('imageHeight')
    image = AnnotatedImage(name, place, size if all(isinstance(v, int) for v in size) else None)
    if place is None and content.get('imageData'):
        image.content = partial(_embedded, file)
        counts[EMBEDDED] += 1
    for number, shape in enumerate(shapes):
        region = _region(shape, f'shape {number} of {file}', line_width)
        if region is None:
            counts[LINES] += 1
        else:
            image.regions.append(region)
    counts[EMPTY] += not shapes
    image.annotated = bool(image.regions)
    return image


def _find(file: Path, named: str, beside: bool, finder: ImageFiles) -> Path | None:
    """The image of a JSON file: where it says, beside it, or of its name."""
    if beside:
        for candidate in (named.replace('\\', '/'), plain_name(named).rpartition('/')[2]):
            if (file.parent / candidate).is_file():
                return file.parent / candidate
    return finder.find(named)


def _embedded(file: Path) -> bytes:
    """The image that a JSON file carries."""
    try:
        return base64.b64decode(read_json(file)['imageData'], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise SetupError(
            f"the labelme file {file} has an 'imageData' that is no base64 ({error}); put the image beside it"
        ) from error


def _region(shape: object, where: str, line_width: float) -> Region | None:
    """The region of a shape; None if it has no area."""
    label = _label(str(need(shape, 'label', (str, int), where)))
    points = ring_of(need(shape, 'points', list, where), where)
    kind = shape.get('shape_type') or 'polygon'  # files before version 4 have polygons alone
    if kind not in _SHAPES:
        raise SetupError(
            f"{where} is a '{kind}', expected one of {', '.join(_SHAPES)}; draw it as a polygon"
        )
    if kind in ('rectangle', 'circle', 'mask', 'line') and len(points) < 2:
        raise SetupError(
            f'{where} is a {kind} of {len(points)} points, expected two; draw it again'
        )
    if kind == 'mask':
        return _mask_region(shape, label, points, where)
    if kind == 'circle':
        return Region(label, (circle_ring(points[0], float(np.hypot(*(points[1] - points[0])))),))
    if kind == 'rectangle' and len(points) == 2:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return Region(
            label, (np.array([(left, top), (right, top), (right, bottom), (left, bottom)]),)
        )
    if kind in _CORNERS:
        return Region(label, (points,))
    if not line_width:
        return None
    if kind in ('point', 'points'):
        return Region(label, tuple(circle_ring(point, line_width / 2) for point in points))
    return Region(label, line_rings(points, line_width))


def _mask_region(shape: dict, label: str | None, points: np.ndarray, where: str) -> Region:
    """A painted mask: an image in base64 between two corners, both of which are pixels of it."""
    (left, top), (right, bottom) = points[:2].astype(int).tolist()
    try:
        content = base64.b64decode(need(shape, 'mask', str, where), validate=True)
        mask = np.asarray(Image.open(io.BytesIO(content)).convert('L')) > 0
    except (OSError, binascii.Error) as error:
        raise SetupError(
            f"{where} has a 'mask' that is no image in base64 ({error}); export it again"
        ) from error
    width, height = right - left + 1, bottom - top + 1
    if mask.shape != (height, width):
        raise SetupError(
            f'{where} is a mask of {mask.shape[1]} x {mask.shape[0]} pixels, but its corners are {width} x {height} pixels apart; '
            'paint it again'
        )
    return Region(label, mask=mask, offset=(left, top))
