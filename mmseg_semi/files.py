"""The one way in which this package writes a file: whole, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmseg_semi.errors import UnwritableFileError

DRAFT = '.draft'
"""Suffix of a file that is still being written."""

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, 'EDQUOT', errno.ENOSPC)}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.EEXIST, errno.ENOTDIR}


@contextmanager
def whole_file(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Yield a path to write to; when the block ends, the file there gets the name ``path``.

    A reader, or a run that resumes after a crash, sees the old file or the new one, never a part. An error inside the
    block leaves the old file as it is and removes the draft.

    Args:
        path: The file to write; its folder is created.
        sync: Bring the bytes to the disk before the file gets its name, see :func:`commit`. False for files that are
            made again when a machine loses power, such as the thousands of images of a converter.

    Raises:
        UnwritableFileError: The disk is full, or the folder takes no files.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), 'list.txt')
        >>> with whole_file(path) as draft:
        ...     _ = draft.write_text('a')
        >>> path.read_text(), [file.name for file in path.parent.iterdir()]
        ('a', ['list.txt'])
    """
    path = Path(path)
    draft = path.with_name(f'.{path.name}.{os.getpid()}{DRAFT}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            commit(draft, path, sync)
        finally:
            # also after a commit: renaming a hard link to the same file leaves both names
            draft.unlink(missing_ok=True)
    except OSError as error:
        # missing rights may be those of a file that the block reads
        ours = error.filename is None or Path(os.fsdecode(error.filename)) in (
            draft,
            path,
            *path.parents,
        )
        if error.errno in _NO_ROOM or (error.errno in _NO_RIGHT | _NO_FOLDER and ours):
            raise unwritable(path, error) from error
        raise


def unwritable(path: str | Path | None, error: OSError) -> UnwritableFileError:
    """The sentence for a file that cannot be written.

    Args:
        path: The file; None if the error does not tell.
        error: Why.

    Example:
        >>> str(unwritable('a.pth', OSError(errno.ENOSPC, 'No space left on device')))
        "'a.pth' cannot be written: No space left on device; make room on that disk, or name a folder on another one"
    """
    if error.errno in _NO_ROOM:
        fix = 'make room on that disk, or name a folder on another one'
    elif error.errno in _NO_FOLDER:
        fix = 'a file stands where a folder must be; name another folder'
    else:
        fix = 'make its folder writable, or name another one'
    name = 'a file' if path is None else f"'{path}'"
    return UnwritableFileError(
        f'{name} cannot be written: {error.strerror or type(error).__name__}; {fix}'
    )


def is_unwritable(error: OSError) -> bool:
    """Whether an error of the operating system says that there is no room for a file, or that its disk is read-only."""
    return error.errno in _NO_ROOM or error.errno == errno.EROFS


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
