"""Walking through a user's folders: files that are files, and links that lead somewhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from mmseg_semi.errors import SetupError

_KINDS = (
    (stat.S_ISFIFO, 'a pipe'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)


def walk_files(
    folder: str | Path,
    wanted: Callable[[str], bool] = lambda name: True,
    links_may_hang: bool = False,
) -> Iterator[str]:
    """Files below a folder, sorted by name, those of a folder before those of its subfolders; links are followed.

    Hidden files and folders are left out. No file is opened.

    Args:
        folder: An existing folder.
        wanted: Whether a file of this name is going to be read. Others pass whatever they are, so that they can be counted.
        links_may_hang: Whether a wanted link to nowhere passes, too, for callers that report files that cannot be read.

    Yields:
        Paths that begin with ``folder`` as it is given.

    Raises:
        SetupError: If a link leads back to a folder above it, a folder cannot be read, or a wanted file is a link to nowhere, or a pipe, a
            socket or a device, from which reading would never end.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ('b.png', 'a.png', '.hidden'):
        ...     (folder / name).touch()
        >>> [Path(path).name for path in walk_files(folder)]
        ['a.png', 'b.png']
    """
    yield from _walk(os.fspath(folder), wanted, links_may_hang, {})


def _walk(
    folder: str, wanted: Callable[[str], bool], links_may_hang: bool, above: dict
) -> Iterator[str]:
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise SetupError(
            f'the folder {folder} cannot be read ({error.strerror}); make it readable, or move it away'
        ) from error
    key = status.st_dev, status.st_ino
    if key in above:
        raise SetupError(
            f'{folder} is a link to {above[key]}, a folder above it, so that its files would come again without end; '
            'remove the link'
        )
    below = []
    for entry in entries:
        if entry.name.startswith('.'):
            continue
        if entry.is_dir():
            below.append(entry.path)
            continue
        if wanted(entry.name) and not entry.is_file():
            _refuse(entry, links_may_hang)
        yield entry.path
    for path in below:
        yield from _walk(path, wanted, links_may_hang, {**above, key: folder})


def _refuse(entry: os.DirEntry, links_may_hang: bool) -> None:
    """Raise an error for a file that is none."""
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:
        if links_may_hang:
            return
        target = os.readlink(entry.path) if entry.is_symlink() else 'nothing'
        raise SetupError(
            f'{entry.path} is a link to {target}, which does not exist; restore the file, or remove the link'
        ) from None
    kind = next((words for test, words in _KINDS if test(mode)), 'no file')
    raise SetupError(
        f'{entry.path} is {kind}, expected a file, as reading it might never end; remove it, or give it another ending'
    )
