"""YOLO segmentation as Ultralytics reads it: a text file of polygons for each image."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.files import plain_name, read_header, walk_images
from mmseg_semi.preparing.annotations.image_lists import ImageStems, part_of, sorted_images
from mmseg_semi.preparing.annotations.texts import head

TITLE = 'YOLO segmentation (a folder with data.yaml and labels/)'

NOTHING_THERE = 'images with an empty text file: annotated, nothing there'
NO_FILE = 'images without a text file, unlabelled'


def matches(path: Path) -> bool:
    """Whether this is a data.yaml with names beside a folder labels/, or a folder that holds both."""
    file = _yaml_file(path)
    return file is not None and bool(_label_folders(file.parent))


def _yaml_file(path: Path) -> Path | None:
    """The YAML file that names the classes."""
    if path.is_file():
        candidates = [path] if path.suffix.lower() in ('.yaml', '.yml') else []
    else:
        found = sorted([*path.glob('*.yaml'), *path.glob('*.yml')])
        candidates = sorted(found, key=lambda file: file.stem != 'data')
    return next((f for f in candidates if re.search(r'^names\s*:', head(f), re.MULTILINE)), None)


def _label_folders(root: Path) -> list[Path]:
    """Folders 'labels': at the root, or in the folder of each part."""
    return sorted(each for each in root.rglob('labels') if each.is_dir())


def read(path: Path, images: Path | None) -> Export:
    """Read a data set of YOLO segmentation.

    An empty text file means that somebody looked at the image and found nothing. An image without a text file is unlabelled.

    Args:
        path: The folder with data.yaml, or this file.
        images: Folder of the images; None looks in ``path``.

    Raises:
        SetupError: If data.yaml or a text file is wrong, or the data set is one of boxes, key points or image classes.
    """
    file = _yaml_file(path)
    if file is None:
        raise SetupError(
            f"{path} has no data.yaml with 'names', which are the classes; give the folder that holds it"
        )
    root = file.parent
    description = _describe(file)
    names = _names(description, file)
    texts = _texts(root)
    if not texts:
        raise SetupError(
            f'{root} holds no text file, looked for were labels/*.txt; export as YOLO segmentation with labels'
        )
    reader = _Reader(file, names, _parts_of_lists(description, root))
    folder = images if images is not None else root
    stems = ImageStems([folder])
    found = [reader.image(key, text, stems) for key, text in texts.items()]
    others = reader.others(folder, found)
    return Export(
        format='YOLO segmentation',
        source=path,
        classes=list(names.values()),
        images=sorted_images(found + others, path, reader.counts),
        overlap='the smaller polygon is on top, as Ultralytics draws them; of equal ones the later line',
        unmarked=('background', 'Ultralytics learns that no object is where no polygon is'),
        counts=+reader.counts,
    )


def _describe(file: Path) -> dict:
    try:
        description = yaml.safe_load(file.read_text(encoding='utf-8-sig'))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = ' '.join(str(error).split())
        raise SetupError(f'{file} is no YAML ({reason}); correct it') from error
    if not isinstance(description, dict):
        raise SetupError(f"{file} holds no keys, expected 'names' and others; export it again")
    if description.get('kpt_shape'):
        raise SetupError(
            f"{file} is of a data set of key points ('kpt_shape'); export as YOLO segmentation"
        )
    return description


def _names(description: dict, file: Path) -> dict[int, str]:
    """Index -> class."""
    names = description.get('names')
    entries = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(entries, dict) or not entries:
        raise SetupError(
            f'{file} has names={names!r:.60}, expected the classes, such as [leaf, stone]; write them there'
        )
    try:
        table = {int(key): str(name) for key, name in sorted(entries.items())}
    except (TypeError, ValueError) as error:
        raise SetupError(
            f"{file} has an index of 'names' that is no number ({error}); correct it"
        ) from error
    count = description.get('nc')
    if count is not None and count != len(table):
        raise SetupError(f'{file} has nc={count!r}, but {len(table)} names; make both agree')
    return table


def _texts(root: Path) -> dict[str, Path]:
    """The text files by what an image's path would be without its ending: 'labels' replaced by 'images'."""
    found: dict[str, Path] = {}
    for folder in _label_folders(root):
        base = folder.parent.relative_to(root) / 'images'
        for text in sorted(folder.rglob('*.txt')):
            found[(base / text.relative_to(folder)).with_suffix('').as_posix()] = text
    return found


def _parts_of_lists(description: dict, root: Path) -> dict[str, str]:
    """Image without ending -> its part, by the text files that 'train', 'val' and 'test' name."""
    found: dict[str, str] = {}
    for part in ('train', 'val', 'test'):
        entries = description.get(part) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            text = root / str(entry)
            if text.suffix != '.txt' or not text.is_file():
                continue
            for line in text.read_text(encoding='utf-8-sig').splitlines():
                if line.strip():
                    found[PurePosixPath(plain_name(line.strip())).with_suffix('').as_posix()] = part
    return found


@dataclass
class _Reader:
    """Reads the text files of a data set."""

    yaml: Path
    names: dict[int, str]
    lists: dict[str, str]
    counts: Counter = field(default_factory=Counter)

    def image(self, key: str, text: Path, stems: ImageStems) -> AnnotatedImage:
        """The image of a text file."""
        path = stems.find(key)
        image = AnnotatedImage(key + (path.suffix if path else ''), path, part=self._part(key))
        lines = text.read_text(encoding='utf-8-sig', errors='replace').splitlines()
        rows = [
            (f'line {n} of {text}', line.split()) for n, line in enumerate(lines, 1) if line.strip()
        ]
        polygons = [self._polygon(values, where) for where, values in rows]
        self.counts[NOTHING_THERE] += not rows
        if path is not None:
            image.size = read_header(path).size
            scale = np.array(image.size)
            image.regions = [
                Region(label, (ring * scale,), order=-_area(ring)) for label, ring in polygons
            ]
        return image

    def _part(self, key: str) -> str | None:
        """The part of an image, by the lists or else by its folders."""
        for listed in (key, key.removeprefix('images/')):
            if listed in self.lists:
                return self.lists[listed]
        parts = [part_of(name) for name in PurePosixPath(key).parent.parts]
        return next((part for part in reversed(parts) if part), None)

    def _polygon(self, values: list[str], where: str) -> tuple[str, np.ndarray]:
        """The class and the ring, in shares of the image, of a line."""
        try:
            index, numbers = int(values[0]), np.array(values[1:], float)
        except ValueError as error:
            raise SetupError(
                f'{where} is no index of a class and numbers ({error}); export as YOLO segmentation'
            ) from error
        if index not in self.names:
            raise SetupError(
                f'{where} is of the class {index}, but {self.yaml} names {", ".join(f"{i}: {n}" for i, n in self.names.items())}; add the '
                'name there'
            )
        if len(numbers) in (0, 4, 5):
            kind = (
                'a box of a detection data set, or two points' if len(numbers) else 'a class alone'
            )
            raise SetupError(
                f'{where} has {len(numbers)} numbers after the class, {kind}, expected x and y of three points or more; export as YOLO '
                'segmentation'
            )
        if len(numbers) % 2 or len(numbers) < 6 or not np.isfinite(numbers).all():
            raise SetupError(
                f'{where} has {len(numbers)} numbers after the class, expected x and y of three points or more; correct the line'
            )
        ring = numbers.reshape(-1, 2)
        if np.abs(ring).max() > 2:
            raise SetupError(
                f'{where} has the coordinate {np.abs(ring).max():g}, expected shares of the image, 0 to 1; export as YOLO segmentation'
            )
        return self.names[index], ring

    def others(self, folder: Path, found: list[AnnotatedImage]) -> list[AnnotatedImage]:
        """Images without a text file."""
        used = {image.path.resolve() for image in found if image.path}
        others = [path for path in walk_images(folder) if path.resolve() not in used]
        self.counts[NO_FILE] += len(others)
        names = [path.relative_to(folder).as_posix() for path in others]
        return [
            AnnotatedImage(name, path, annotated=False, part=self._part(name.rpartition('.')[0]))
            for name, path in zip(names, others, strict=True)
        ]


def _area(ring: np.ndarray) -> float:
    """The area that a ring encloses, in shares of the image."""
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
