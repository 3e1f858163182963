"""What annotation tools export: one reader a format, all of which give an :class:`.Export`.

A reader is a module with ``TITLE`` (one line: the format and what of it is looked for), ``matches`` and ``read``, see :mod:`.export`.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region

__all__ = ['READERS', 'AnnotatedImage', 'Export', 'Region', 'find_reader', 'read_export']

READERS: tuple[str, ...] = ('coco', 'labelme', 'voc', 'masks')
"""Modules of this folder, the most specific format first. They are imported when an export is read."""


def reader(name: str) -> ModuleType:
    """The module of a reader."""
    return importlib.import_module(f'{__name__}.{name}')


def find_reader(path: Path) -> ModuleType:
    """The reader of an export.

    Raises:
        SetupError: If there is no such file or folder, or no reader knows it; the message lists what was looked for.
    """
    if not path.exists():
        raise SetupError(
            f'the export {path} does not exist; give the file or the folder that the annotation tool wrote'
        )
    for name in READERS:
        module = reader(name)
        if module.matches(path):
            return module
    looked_for = '; '.join(reader(name).TITLE for name in READERS)
    raise SetupError(
        f'{path} is no export that is known, looked for were: {looked_for}; export again in one of these formats, or name it by --format '
        'to see what is missing'
    )


def read_export(
    path: Path, images: Path | None = None, format: str | None = None, line_width: float = 0.0
) -> Export:
    """Read an export of any known format.

    Args:
        path: The file or the folder that the tool wrote.
        images: The folder of the images, if they are not where the export says or beside it.
        format: Name of a reader (:data:`READERS`); None finds it.
        line_width: Pixels; lines become areas of this width, 0 leaves them out.

    Raises:
        SetupError: If the export is of no known format, cannot be read or contradicts itself.
    """
    if images is not None and not images.is_dir():
        raise SetupError(
            f'--images {images} is no folder; name the folder of the images that {path} names'
        )
    if format is not None and not path.exists():
        raise SetupError(
            f'the export {path} does not exist; give the file or the folder that the annotation tool wrote'
        )
    module = find_reader(path) if format is None else reader(format)
    has_lines = 'line_width' in inspect.signature(module.read).parameters
    if line_width and not has_lines:
        raise SetupError(
            f'--line-width {line_width:g}: this export has no lines ({module.TITLE}); leave the option out'
        )
    options = dict(line_width=line_width) if has_lines else {}
    return module.read(path, images, **options)
