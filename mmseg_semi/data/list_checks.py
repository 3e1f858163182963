"""Checks of lists of image names before the first iteration."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from pathlib import PurePath

import numpy as np

from mmseg_semi.data.names import NameList, hash_names, not_utf8, repeated
from mmseg_semi.data.splits import FAMILIES
from mmseg_semi.errors import SetupError


def check_list(path: str, key: str, shown: str | None = None) -> None:
    """Refuse a list that is empty, is not UTF-8, has an empty line or names an image twice.

    Args:
        path: List file, one name a line.
        key: Place of the data set in the config; errors name it.
        shown: Path as the config writes it. Defaults to ``path``.

    Raises:
        SetupError: If the list is of one of these kinds.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/labeled.txt'
        >>> _ = open(path, 'w').write('a\\nb\\n')
        >>> check_list(path, 'train_dataloader.dataset.labeled')
    """
    shown = shown or path
    names = NameList(path)
    blank, count, hashes = None, 0, []
    for lines in names.chunks():
        _check_encoding(lines, f'{key}.ann_file: list {shown}', count == 0)
        if blank is None and b'' in lines:
            blank = count + lines.index(b'')
        count += len(lines)
        hashes.append(hash_names(iter([lines]), len(lines)))
    if not count or (blank is not None and not any(any(lines) for lines in names.chunks())):
        raise SetupError(f'{key}.ann_file: list {shown} is empty; {list_command(shown)}')
    if blank is not None:
        raise SetupError(f'{key}.ann_file: line {blank + 1} of {shown} is empty; remove the line')
    twice = Counter(names[i] for i in repeated(np.concatenate(hashes)).tolist())
    twice = [name for name, times in twice.items() if times > 1]
    if twice:
        raise SetupError(
            f'{key}.ann_file: list {shown} names {twice[0]} more than once ({len(twice)} of '
            f'{count} names are repeated); keep one line each'
        )


def _check_encoding(lines: list[bytes], place: str, first: bool) -> None:
    """Refuse names that are not UTF-8, and a mark at the beginning of a list that would be part of a name."""
    text = b'\n'.join(lines)
    if first and text.startswith(BOM_UTF8):
        raise SetupError(
            f'{place} begins with a byte order mark, which would be a part of its first name; save it as UTF-8 without BOM'
        )
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(place, error) from error
    if b'\0' in text:
        raise SetupError(
            f'{place} holds zero bytes, which names in UTF-8 do not have; save it as UTF-8'
        )


def list_command(path: str) -> str:
    """The command that makes the list at this path."""
    parts = PurePath(path).parts
    for i, (family, dataset) in enumerate(zip(parts, parts[1:], strict=False)):
        if i and parts[i - 1] == 'splits' and family in FAMILIES:
            return (
                f'import it: mmseg-semi splits import --family {family} --dataset {dataset} '
                '--source FOLDER_OR_CHECKOUT'
            )
    return 'make one: mmseg-semi splits make --images FOLDER --n LABELLED --out FOLDER'
