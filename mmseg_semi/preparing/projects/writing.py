"""Writing a project folder: links to images, masks of class indices, and their description."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from mmseg_semi.data.decoding.files import ANY_IMAGE_SUFFIXES
from mmseg_semi.data.mask_map import MaskMap
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.annotations.drawing import draw_regions, turn
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export
from mmseg_semi.preparing.annotations.files import ImageHeader, plain_name, read_header
from mmseg_semi.preparing.image_files import place, write_labels
from mmseg_semi.preparing.projects.classes import Classes
from mmseg_semi.preparing.projects.parts import Parts

PARTS = ('train', 'val', 'test')
TURNED = 'images with an EXIF orientation, whose masks are turned as training turns the image'
SHOWN = 'images with an EXIF orientation, annotated as they are shown'
COPIED = 'images copied, for links are not possible here'


@dataclass
class Written:
    """What a project folder got.

    Attributes:
        pixels: Part -> pixels of each index, (256,) int64.
        images_with: Part -> number of masks that show each index, (256,) int64.
        sizes: (width, height) of the annotated images, as training loads them.
        counts: What was counted in drawing and linking: text -> number.
    """

    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    images_with: dict[str, np.ndarray] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out``, which gets the name ``out`` when the block ends well, and goes if it does not.

    Raises:
        SetupError: If ``out`` is there and holds files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SetupError(
            f'the project folder {out} exists and is not empty; give another name by --out, or remove it'
        )
    draft = out.absolute().with_name(f'.{out.absolute().name}.{os.getpid()}.draft')
    draft.mkdir(parents=True)
    try:
        yield draft
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except SetupError as error:
        # a user knows the folder that was asked for, and the draft is gone when the error is read
        raise type(error)(str(error).replace(str(draft), str(out))) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_project(
    folder: Path,
    export: Export,
    classes: Classes,
    parts: Parts,
    copy: bool = False,
    progress: Callable | None = None,
) -> Written:
    """Write images, masks and ``data.yaml`` into a folder.

    Args:
        folder: An empty folder.
        export: What was read.
        classes: The classes of the project.
        parts: The images of the project.
        copy: Whether to copy images in place of links.
        progress: Called with the annotated images, gives them back one by one; None for no display.

    Raises:
        SetupError: If an image or a mask cannot be read, the export says another size than the image has, or a region's class is not in the
            list.
    """
    written = Written()
    reader = MaskReader(export, classes) if export.mask_values else None
    of_part = {part: getattr(parts, part) for part in PARTS}
    todo = [(part, image) for part in PARTS for image in of_part[part]]
    names = {part: Names() for part in PARTS}
    for part, image in progress(todo) if progress else todo:
        header = read_header(image.content() if image.path is None else image.path, image.name)
        name = names[part].new(image.name)
        target = folder / 'images' / part / name
        if image.path is None:
            write_whole(target, image.content(), sync=False)
        else:
            written.counts[COPIED] += link(image.path, target, copy) and not copy
        mask = index_mask(image, header, classes, reader, written.counts)
        write_labels(mask, (folder / 'masks' / part / name).with_suffix('.png'))
        written.sizes.append(header.size)
        found = np.bincount(mask.ravel(), minlength=IGNORE + 1)
        written.pixels[part] = written.pixels.get(part, 0) + found
        written.images_with[part] = written.images_with.get(part, 0) + (found > 0)
    unlabelled = Names()
    for name, path in parts.unlabeled:
        written.counts[COPIED] += (
            link(path, folder / 'unlabeled' / unlabelled.new(name), copy) and not copy
        )
    write_whole(folder / 'data.yaml', describe(classes, parts))
    return written


class Names:
    """Names of files in a folder, such that no two differ by their ending alone, for ``NAME.png`` is the mask of one image."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, name: str) -> str:
        """A relative path for a file, the given one if it is free; hidden folders become visible.

        Example:
            >>> names = Names()
            >>> names.new('../a/x.jpg'), names.new('a/x.png'), names.new('.b.tif')
            ('a/x.jpg', 'a/x-2.png', 'b.tif')
        """
        steps = [step.lstrip('.') for step in plain_name(name).split('/')]
        stem, suffix = os.path.splitext('/'.join(step for step in steps if step))
        if suffix.lower() not in ANY_IMAGE_SUFFIXES:
            stem, suffix = stem + suffix, '.png'  # the content, not the ending, says the format
        number, chosen = 1, stem or 'image'
        while chosen.lower() in self._taken:
            number += 1
            chosen = f'{stem}-{number}'
        self._taken.add(chosen.lower())
        return chosen + suffix


def link(source: Path, target: Path, copy: bool = False) -> bool:
    """Make a symbolic link to an image; a copy if asked for, or where the disk allows no link. Whether it is a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    real = source.resolve()
    if copy:
        shutil.copyfile(real, target)
        return True
    try:
        target.symlink_to(real)
        return False
    except (OSError, NotImplementedError):  # Windows without the right to make them
        place(real, target)
        return not os.path.samefile(real, target)


class MaskReader:
    """Reads finished masks of an export as indices of the project's classes."""

    def __init__(self, export: Export, classes: Classes) -> None:
        self._map = MaskMap(export.mask_values, export.ignore_values, str(export.source))
        self._table = np.full(IGNORE + 1, IGNORE, np.uint8)
        for place_, name in enumerate(self._map.names):
            self._table[place_] = classes.indices.get(name, IGNORE)

    def read(self, path: Path) -> np.ndarray:
        """(H, W) uint8."""
        return self._table[self._map.read(str(path))]

    def labels(self, image: AnnotatedImage) -> set[int]:
        """The indices in the mask of an image."""
        return set(np.flatnonzero(np.bincount(self.read(image.mask).ravel())).tolist()) - {IGNORE}


def index_mask(
    image: AnnotatedImage,
    header: ImageHeader,
    classes: Classes,
    reader: MaskReader | None,
    counts: Counter,
) -> np.ndarray:
    """The mask of an image, as training sees the image: turned by its EXIF orientation.

    Tools differ in whether they obey this tag. The size that the export says decides. Where it cannot, because the tag changes no size, or the
    export says none, the annotation is taken to be of the image as browsers and tools show it, that is turned.

    Returns:
        (height, width) uint8, of the size of the decoded image.

    Raises:
        SetupError: If the export says another size, or as :func:`.draw_regions` and :meth:`.MaskMap.read`.
    """
    finished = reader.read(image.mask) if reader is not None and image.mask is not None else None
    size = image.size or header.size
    if finished is not None:
        size = finished.shape[1], finished.shape[0]
    if size not in (header.size, header.stored):
        what = f'its mask {image.mask} is' if finished is not None else 'the export says'
        raise SetupError(
            f'the image {image.name} is {header.size[0]} x {header.size[1]} pixels, but {what} {size[0]} x {size[1]} (width x height); '
            'give the images that were annotated, by --images'
        )
    if finished is None:
        finished, drawn = draw_regions(image, size, classes.indices, classes.unmarked)
        counts.update(drawn)
    if header.orientation == 1:
        return finished
    counts[SHOWN if size == header.size else TURNED] += 1
    return finished if size == header.size else turn(finished, header.orientation)


def describe(classes: Classes, parts: Parts) -> str:
    """The text of data.yaml, see docs/custom_data.md."""
    content: dict[str, object] = {
        key: dict(images=f'images/{part}', masks=f'masks/{part}')
        for key, part in (('labeled', 'train'), ('val', 'val'), ('test', 'test'))
        if getattr(parts, part)
    }
    content['unlabeled'] = 'unlabeled'
    content['classes'] = list(classes.names)
    content['palette'] = dict(zip(classes.names, classes.colours, strict=True))
    lines = '# Written by mmseg-semi init; docs/custom_data.md describes the keys. Masks hold class indices, 255 is ignored.\n'
    return lines + yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )
