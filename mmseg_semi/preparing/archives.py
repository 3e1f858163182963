"""Open folders and archives alike: the files that a converter wants, as files on disk.

No archive writes outside of the folder that it is unpacked into.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from rich.progress import DownloadColumn

from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.preparing.progress import progress_bar

_SUFFIXES = ('.tar', '.tgz', '.tar.gz', '.tar.bz2', '.tar.xz', '.zip')
_CHUNK = 1 << 20
_BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Archive:
    """A file in which a data set is published.

    Args:
        name: File name, e.g. 'benchmark.tgz'.
        where: Where users get it, in words or as an address.
        urls: Addresses for the download, tried in this order. Empty where the publisher asks for a
            login or states no licence.
        md5: MD5 checksum of the file; needed with ``urls``.
        size: Size in bytes, for messages.
        markers: Parts of a path. A folder that has a file with any of them holds the contents of
            this archive, so the archive is not downloaded.
    """

    name: str
    where: str
    urls: tuple[str, ...] = ()
    md5: str = ''
    size: int = 0
    markers: tuple[str, ...] = ()


def where_to_get(archives: Sequence[Archive], names: Iterable[str] | None = None) -> str:
    """Where archives are published, in words, for an error.

    Args:
        archives: All archives of the data set.
        names: Names of the archives to mention. Defaults to all.

    Example:
        >>> where_to_get([Archive('a.tar', 'https://example.org'), Archive('b.zip', 'the authors')])
        'a.tar from https://example.org and b.zip from the authors'
    """
    chosen = [a for a in archives if names is None or a.name in set(names)]
    return ' and '.join(f'{a.name} from {a.where}' for a in chosen)


def has_contents(source: Path, archive: Archive, wanted: Callable[[str], bool]) -> bool:
    """Whether a source is the archive, a folder with it, or a folder with its unpacked files."""
    if source.name == archive.name or (source / archive.name).is_file():
        return True
    return source.is_dir() and any(
        marker in path for path, _ in _walk(source, wanted) for marker in archive.markers
    )


@contextmanager
def open_sources(
    sources: Sequence[Path],
    scratch: Path,
    wanted: Callable[[str], bool],
    archives: Sequence[Archive] = (),
) -> Iterator[dict[str, Path]]:
    """Give the wanted files of folders and archives as files on disk.

    Archives are unpacked into ``scratch``, wanted files only, and ``scratch`` is removed at the
    end. When a run is killed, the next one continues with what is unpacked already. Hidden folders
    are skipped.

    Args:
        sources: Folders or archives; where two hold the same path, the first one counts.
        scratch: Folder to unpack into.
        wanted: Whether a file is wanted, by its path in the source. A path in a folder begins with
            the folder's own name, as a path in an archive usually does.
        archives: Published archives that may lie, still packed, in one of the folders.

    Yields:
        dict[str, Path]: Path on disk by path in the source.

    Raises:
        SetupError: If a source is missing, is no archive, is incomplete, or names a path outside of
            its folder.
    """
    scratch = Path(scratch)
    packed = {archive.name for archive in archives}
    files: dict[str, Path] = {}
    try:
        for source in map(Path, sources):
            if source.is_dir():
                inside = [source / name for name in sorted(packed) if (source / name).is_file()]
                found = dict(_walk(source, wanted))
                for archive in inside:
                    found.update(_unpack(archive, scratch / archive.name, wanted))
            elif source.is_file():
                found = _unpack(source, scratch / source.name, wanted)
            else:
                known = f'; get {where_to_get(archives)}' if archives else ''
                raise SetupError(f'{source} does not exist{known}')
            files = found | files
        yield files
    except SetupError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch, ignore_errors=True)


def _walk(folder: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    """Path in the source and on disk of each wanted file below a folder."""
    seen = set()  # folders may be links, and links may form a circle
    for current, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        inner = folder.resolve().name / Path(current).relative_to(folder)
        for name in sorted(names):
            path = (inner / name).as_posix()
            if not name.startswith('.') and wanted(path):
                yield path, Path(current) / name


def _unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> dict[str, Path]:
    """Unpack the wanted files of one archive; those that have their size already are kept."""
    if not archive.name.lower().endswith(_SUFFIXES):
        raise SetupError(
            f'{archive} is neither a folder nor an archive ({", ".join(_SUFFIXES)}); name the '
            'downloaded file or the folder that it was unpacked into'
        )
    found = {}
    try:
        with progress_bar(DownloadColumn()) as bar, open(archive, 'rb') as raw:
            task = bar.add_task(f'unpacking {archive.name}', total=archive.stat().st_size)
            for name, size, open_member in _members(raw):
                bar.update(task, completed=raw.tell())
                path = _inside(name, archive)
                if not wanted(path):
                    continue
                found[path] = target = folder / path
                if not target.is_file() or target.stat().st_size != size:
                    with open_member() as content, whole_file(target, sync=False) as draft:
                        _copy(content, size, draft)
            bar.update(task, completed=archive.stat().st_size)
    except _BROKEN_ARCHIVE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk, not of the archive
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SetupError(f'{archive} is no complete archive ({reason}); get it again') from error
    return found


def _copy(content: io.BufferedIOBase, size: int, target: Path) -> None:
    with open(target, 'wb') as file:
        shutil.copyfileobj(content, file, _CHUNK)
        if file.tell() != size:
            raise EOFError('unexpected end of data')


def _members(raw: io.BufferedReader) -> Iterator[tuple[str, int, Callable]]:
    """Path, size in bytes and opener of each regular file, in one pass; links are skipped."""
    if raw.name.lower().endswith('.zip'):
        with zipfile.ZipFile(raw) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if not info.is_dir() and kind in (0, stat.S_IFREG):
                    yield info.filename, info.file_size, partial(archive.open, info)
        return
    with tarfile.open(fileobj=raw) as archive:
        for member in archive:
            if member.isreg():
                yield member.name, member.size, partial(archive.extractfile, member)


def _inside(name: str, archive: Path) -> str:
    """The path of a member without './'; a path that leads out of the folder is refused."""
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or ':' in path.parts[0]:
        raise SetupError(
            f'{archive} names {name!r}, which lies outside of the folder it is unpacked into; this '
            'is not the published file, get it from its publisher'
        )
    return path.as_posix()
