"""Where images come from: files of a folder, their names, and pixels by windows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from mmseg_semi.data import bands
from mmseg_semi.data.decoding.files import ANY_IMAGE_SUFFIXES
from mmseg_semi.errors import SetupError

VIDEO_SUFFIXES = frozenset(
    {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv'}
)
"""Endings of videos, in lower case."""

MAX_PIXELS = 2**30
"""Largest image that is decoded as a whole, OpenCV's own limit. Pillow's, meant for servers that take uploads, is a
sixth of it."""


class ImageSource(Protocol):
    """Pixels of one image by windows.

    Attributes:
        path: The file.
        size: (height, width) in pixels.
        record: What the model's loader noted besides the pixels, for the transforms that follow it.
    """

    path: str
    size: tuple[int, int]
    record: dict

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """(h, w, channels), as the model's loader gives it."""

    def missing(self, top: int, left: int, bottom: int, right: int) -> np.ndarray | None:
        """(h, w) bool, where the image has no data; None if it has them everywhere in this window."""


class ArrayImage:
    """A decoded image.

    Args:
        results: What the model's loader wrote.
    """

    def __init__(self, results: dict) -> None:
        self.path = str(results.get('img_path', ''))
        self._img = results['img']
        self.size = tuple(self._img.shape[:2])
        self._missing = results.get('missing_map')
        self.record = {k: v for k, v in results.items() if k not in ('img', 'missing_map')}

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        return self._img[top:bottom, left:right]

    def missing(self, top: int, left: int, bottom: int, right: int) -> np.ndarray | None:
        if self._missing is None:
            return None
        part = self._missing[top:bottom, left:right]
        return part if part.any() else None


def picture_of(img: np.ndarray, record: dict | None = None) -> np.ndarray:
    """(h, w, 3) uint8 red, green, blue of a part of what a loader gives: BGR, or levels of any number of bands.

    Example:
        >>> picture_of(np.uint8([[[1, 2, 3]]])).tolist()
        [[[3, 2, 1]]]
    """
    return bands.picture_of({**(record or {}), 'img': img})[..., ::-1]


def orientation(path: str | Path) -> int:
    """The orientation tag of an image file, 1 if it has none or cannot be read.

    Loaders turn a photograph as the tag says; its mask has the turned size.
    """
    try:
        with Image.open(path) as image:
            # getexif() would decode a PNG to look for a tag after the pixels
            if image.format == 'PNG' and 'exif' not in image.info:
                return 1
            return int(image.getexif().get(0x0112, 1))
    except Exception:  # each format raises its own kinds; the loader will say what is wrong
        return 1


# -- names -----------------------------------------------------------------------------------------


@dataclass
class Inputs:
    """Files to predict on.

    Attributes:
        root: Their folder; names are relative to it.
        names: Path of an output, without suffix, relative to its folder -> the file.
        doubled: Names of files that differ in their suffix alone; their outputs keep it.
        others: Suffix -> number of files that are no images.
        videos: Videos in the folder.
    """

    root: Path
    names: dict[str, Path]
    doubled: list[str] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    videos: list[Path] = field(default_factory=list)


def find_images(folder: str | Path, without: Path | None = None) -> Inputs:
    """Images below a folder, sorted by path; hidden files and folders are left out.

    Args:
        folder: A folder, or one image file.
        without: A folder that is left out: the one that is written to.

    Raises:
        SetupError: If it does not exist, or holds no image.
    """
    folder = Path(folder)
    if folder.is_file():
        return Inputs(folder.parent, {folder.stem: folder})
    if not folder.is_dir():
        raise SetupError(f"'{folder}' does not exist; give an image, a video or a folder of images")
    found: dict[str, list[Path]] = {}
    inputs = Inputs(folder, {})
    for path in sorted(_walk(folder, without)):
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            inputs.videos.append(path)
        elif suffix in ANY_IMAGE_SUFFIXES:
            name = path.relative_to(folder).with_suffix('').as_posix()
            found.setdefault(name, []).append(path)
        else:
            inputs.others[path.suffix or path.name] += 1
    for name, paths in found.items():
        if len(paths) > 1:
            inputs.doubled.append(name)
        for path in paths:
            own = path.relative_to(folder).as_posix() if len(paths) > 1 else name
            if own in inputs.names:
                raise SetupError(
                    f"'{path}' and '{inputs.names[own]}' would have outputs of one name; rename one of them"
                )
            inputs.names[own] = path
    if not inputs.names:
        seen = ', '.join(f'{n} x {suffix}' for suffix, n in inputs.others.most_common(3))
        videos = f'{len(inputs.videos)} videos, each is given by its own name' * bool(inputs.videos)
        raise SetupError(
            f"'{folder}' holds no image (found: {videos or seen or 'nothing'}); expected files such as .jpg, .png or .tif"
        )
    return inputs


def _walk(folder: Path, without: Path | None) -> Iterator[Path]:
    without = without.resolve() if without is not None else None
    seen: set[Path] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        here = Path(root).resolve()
        if here in seen or here == without:  # a link to a folder above
            folders.clear()
            continue
        seen.add(here)
        folders[:] = [name for name in folders if not name.startswith('.')]
        yield from (Path(root, name) for name in files if not name.startswith('.'))


def value_keys(own: Any) -> dict:
    """What the data set of a user's own data adds for its loader: ``value_range`` and, of bands, ``bands``."""
    found = {key: getattr(own, key, None) for key in ('value_range', 'bands')}
    return {key: value for key, value in found.items() if value is not None}
