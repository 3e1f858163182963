"""What annotation tools export: one reader a format, all of which give an :class:`.Export`.

A reader is a module with ``TITLE`` (one line: the format and what of it is looked for), ``matches`` and ``read``, see :mod:`.export`.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export, Region
from mmseg_semi.preparing.annotations.texts import read_json

__all__ = ['READERS', 'AnnotatedImage', 'Export', 'Region', 'find_reader', 'read_export']

READERS: tuple[str, ...] = (
    'datumaro',
    'cvat',
    'label_studio',
    'supervisely',
    'cityscapes',
    'yolo',
    'coco',
    'labelme',
    'voc',
    'masks',
)
"""Modules of this folder, the most specific format first. They are imported when an export is read."""


_ARCHIVES = ('.zip', '.tar', '.tgz', '.gz', '.rar', '.7z')


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
    _refuse_archives(path)
    if path.is_file() and not path.stat().st_size:
        raise SetupError(f'the export {path} is an empty file; export the annotations again')
    for name in READERS:
        module = reader(name)
        if module.matches(path):
            return module
    if path.is_file() and path.suffix.lower() == '.json':
        read_json(path)  # says what is wrong with a file that no reader can look into
    looked_for = '; '.join(reader(name).TITLE for name in READERS)
    raise SetupError(
        f'{path} is no export that is known, looked for were: {looked_for}; export again in one of these formats, or name it by --format '
        'to see what is missing'
    )


def _refuse_archives(path: Path) -> None:
    """Raise an error for a packed export: images of a project are links, so that its files must stay where they are."""
    if path.is_file() and path.suffix.lower() in _ARCHIVES:
        raise SetupError(
            f'the export {path} is an archive; unpack it, to a folder that stays, and give this folder'
        )


def read_export(
    path: Path, images: Path | None = None, format: str | None = None, **options: Any
) -> Export:
    """Read an export of any known format.

    Args:
        path: The file or the folder that the tool wrote.
        images: The folder of the images, if they are not where the export says or beside it.
        format: Name of a reader (:data:`READERS`); None finds it.
        **options: Further arguments of a reader's ``read``, such as ``line_width`` and ``crowd``; those that are None or 0 are not passed
            on.

    Raises:
        SetupError: If the export is of no known format, cannot be read or contradicts itself, or its format knows nothing of an option.
    """
    if images is not None and not images.is_dir():
        raise SetupError(f'--images {images} is no folder; name the folder of the images of {path}')
    _refuse_archives(path)
    module = find_reader(path) if format is None or not path.exists() else reader(format)
    options = {key: value for key, value in options.items() if value}
    for key in options:
        if key not in inspect.signature(module.read).parameters:
            raise SetupError(
                f'--{key.replace("_", "-")} has no meaning for this export ({module.TITLE}); leave the option out'
            )
    return module.read(path, images, **options)
