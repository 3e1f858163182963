"""The one way in which this package writes a file: whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAFT = '.draft'
"""Suffix of a file that is still being written."""


@contextmanager
def whole_file(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Yield a path to write to; when the block ends, the file there gets the name ``path``.

    A reader, or a run that resumes after a crash, sees the old file or the new one, never a part. An error inside the
    block leaves the old file as it is and removes the draft.

    Args:
        path: The file to write; its folder is created.
        sync: Bring the bytes to the disk before the file gets its name, see :func:`commit`. False for files that are
            made again when a machine loses power, such as the thousands of images of a converter.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), 'list.txt')
        >>> with whole_file(path) as draft:
        ...     _ = draft.write_text('a')
        >>> path.read_text(), [file.name for file in path.parent.iterdir()]
        ('a', ['list.txt'])
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}{DRAFT}')
    try:
        yield draft
        commit(draft, path, sync)
    finally:
        # also after a commit: renaming a hard link to the same file leaves both names
        draft.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes, sync: bool = True) -> None:
    """Write a file at once, see :func:`whole_file`; text is UTF-8 with line ends as they are."""
    data = content.encode('utf-8') if isinstance(content, str) else content
    with whole_file(path, sync) as draft:
        draft.write_bytes(data)


def commit(draft: Path, final: Path, sync: bool = True) -> None:
    """Give a written file its name, after its bytes are on the disk.

    Args:
        draft: The written file, in the same folder as ``final``.
        final: Its name from now on; a file of that name is replaced.
        sync: Call fsync on the file and, on POSIX, on its folder.
    """
    if sync:
        with open(draft, 'rb+') as file:
            os.fsync(file.fileno())
    os.replace(draft, final)
    if sync and os.name == 'posix':  # the new name itself is on the disk only with its folder
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_drafts(folder: str | Path) -> None:
    """Remove the drafts that a killed run left in a folder; a missing folder is no error."""
    for draft in Path(folder).glob(f'.*{DRAFT}'):
        draft.unlink(missing_ok=True)
