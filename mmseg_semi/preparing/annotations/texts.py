"""Reading the text files of exports, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_semi.data.names import not_utf8
from mmseg_semi.errors import SetupError


def head(path: Path, size: int = 65536) -> str:
    """The beginning of a file as text; empty for a file that cannot be read."""
    try:
        with path.open('rb') as file:
            return file.read(size).decode('utf-8-sig', errors='replace')
    except OSError:
        return ''


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        SetupError: If it is empty, no text in UTF-8 or no JSON.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise not_utf8(str(path), error) from error
    except OSError as error:
        raise SetupError(f'{path} cannot be read ({error}); export it again') from error
    if not text.strip():
        raise SetupError(f'{path} is empty; export the annotations again')
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SetupError(f'{path} is nested too deep to be read; export it again') from error
    except ValueError as error:
        raise SetupError(f'{path} is no complete JSON ({error}); export it again') from error


def need(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A value of a JSON object.

    Raises:
        SetupError: If the key is missing or its value is of another type; the sentence begins with ``where``.
    """
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        found = f'{key}={value!r}' if value is not None else f'no {key!r}'
        raise SetupError(f'{where} has {found:.120}, which its format requires; export it again')
    return value


def ring_of(points: Any, where: str) -> np.ndarray:
    """Corners of a polygon, (n, 2) float: from x, y, x, y, … or from pairs.

    Raises:
        SetupError: If they are no pairs of finite numbers.
    """
    try:
        numbers = np.asarray(points, float)
        if numbers.size % 2:
            raise SetupError(
                f'{where} has a polygon of {numbers.size} numbers, expected x and y of each corner: {points!r:.80}; correct it'
            )
        flat = numbers.reshape(-1, 2)
    except SetupError:  # a ValueError, too
        raise
    except (TypeError, ValueError) as error:
        raise SetupError(
            f'{where} has a polygon that is no list of x, y: {points!r:.80}; correct it'
        ) from error
    if not np.isfinite(flat).all():
        raise SetupError(f'{where} has a polygon with a corner that is no number; correct it')
    return flat


def optional(entry: Any, key: str, kind: type | tuple[type, ...], default: Any, where: str) -> Any:
    """A value of a JSON object that may lack it, or have null there: then the default.

    Raises:
        SetupError: If its value is of another type.

    Example:
        >>> optional({'a': None}, 'a', int, 7, 'x.json'), optional({'a': 2}, 'a', int, 7, 'x.json')
        (7, 2)
    """
    if isinstance(entry, dict) and entry.get(key) is None:
        return default
    return need(entry, key, kind, where)


def size_of(width: Any, height: Any, where: str) -> tuple[int, int]:
    """(width, height) of an image, as two numbers of a file.

    Raises:
        SetupError: If they are no positive whole numbers.

    Example:
        >>> size_of(4, 3, 'x.json')
        (4, 3)
    """
    for value in (width, height):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SetupError(
                f'{where} has the size {width!r:.40} x {height!r:.40}, expected pixels; export it again'
            )
    return width, height
