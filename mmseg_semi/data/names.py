"""Lists of names and paths that may have millions of entries.

Ten million paths as Python strings take more than a gigabyte, in every worker of a data loader.
These classes keep the bytes of a list, mapped from its file, and the place of every 64th line. They
compare 64-bit hashes in arrays, and names only where two hashes agree.
"""

from __future__ import annotations

import mmap
import os
import os.path as osp
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec
import numpy as np

from mmseg_semi.errors import SetupError

_STRIDE = 64  # lines between two stored places
_CHUNK = 1 << 22  # bytes that are read at once


class NameList(Sequence[str]):
    """Lines of a text file as a sequence; none is kept as a Python string.

    The file is mapped into memory, so that processes share its pages. Pickling keeps only the path.

    Args:
        source: A file, which must not change while this object exists; or the text itself as bytes.

    Example:
        >>> names = NameList(b'one\\ntwo\\nthree')
        >>> len(names), names[1]
        (3, 'two')
    """

    def __init__(self, source: str | Path | bytes) -> None:
        self._path = None if isinstance(source, bytes) else os.fspath(source)
        self._buffer: mmap.mmap | bytes | None = source if self._path is None else None
        places, newlines = [np.zeros(1, np.int64)], 0
        buffer, end = self.buffer, len(self.buffer)
        for start in range(0, end, _CHUNK):
            chunk = np.frombuffer(buffer[start : start + _CHUNK], np.uint8)
            found = np.flatnonzero(chunk == 10)
            first = -(newlines + 1) % _STRIDE  # newline j stands before line j + 1
            places.append(found[first::_STRIDE] + (start + 1))
            newlines += len(found)
        self._places = np.concatenate(places)
        self._count = newlines + (end > 0 and buffer[end - 1] != 10)

    @property
    def buffer(self) -> mmap.mmap | bytes:
        """All bytes of the file."""
        if self._buffer is None:
            with open(self._path, 'rb') as file:
                empty = os.fstat(file.fileno()).st_size == 0
                self._buffer = (
                    b'' if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                )
        return self._buffer

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        if self._path is not None:
            state['_buffer'] = None
        return state

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:
        """A line, stripped of white space."""
        return self.line(index).decode()

    def line(self, index: int) -> bytes:
        """The bytes of a line, stripped of white space."""
        if not 0 <= index < self._count:
            raise IndexError(f'line {index} of {self._count}')
        buffer, start = self.buffer, int(self._places[index // _STRIDE])
        for _ in range(index % _STRIDE):
            start = buffer.find(b'\n', start) + 1
        stop = buffer.find(b'\n', start)
        return buffer[start : stop if stop >= 0 else len(buffer)].strip()

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield all lines in order, some hundred thousand at a time, stripped of white space."""
        buffer, start, end = self.buffer, 0, len(self.buffer)
        while start < end:
            stop = min(start + _CHUNK, end)
            stop = end if stop == end else buffer.rfind(b'\n', start, stop) + 1
            if stop <= start:  # a line longer than a chunk
                stop = buffer.find(b'\n', start) + 1 or end
            lines = buffer[start:stop].split(b'\n')
            if not lines[-1]:
                lines.pop()
            yield [line.strip() for line in lines]
            start = stop


def read_lines(path: str | Path) -> list[str]:
    """Lines of a list that is small, stripped of white space, empty ones included.

    Raises:
        SetupError: If it does not exist, or is not UTF-8.
    """
    if not Path(path).is_file():
        state = 'is a folder' if Path(path).is_dir() else 'does not exist'
        raise SetupError(f'list {path} {state}; expected a file of one name a line')
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise not_utf8(f'list {path}', error) from error
    return [line.strip() for line in text.splitlines()]


def not_utf8(file: str, error: UnicodeDecodeError) -> SetupError:
    """The error of a text file in another encoding.

    Example:
        >>> try:
        ...     bytes([97, 252]).decode()
        ... except UnicodeDecodeError as error:
        ...     str(not_utf8('list a.txt', error)).partition(';')[0]
        'list a.txt is no text in UTF-8 (found the byte 0xfc)'
    """
    found = f'the byte 0x{error.object[error.start]:02x}'
    return SetupError(f'{file} is no text in UTF-8 (found {found}); save it as UTF-8')


def hash_names(chunks: Iterator[list[bytes]], count: int) -> np.ndarray:
    """Compute 64-bit hashes of names; they are comparable within this process only.

    Args:
        chunks: Lists of names.
        count: Number of names in all chunks.

    Returns:
        np.ndarray: (count,) int64.

    Example:
        >>> hashes = hash_names(iter([[b'a', b'b'], [b'a']]), 3)
        >>> bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])
        (True, False)
    """
    hashes, start = np.empty(count, np.int64), 0
    for names in chunks:
        hashes[start : start + len(names)] = np.fromiter(map(hash, names), np.int64, len(names))
        start += len(names)
    return hashes


class ListedPaths(Sequence[str]):
    """Paths of the names in a list: folder / name + suffix.

    Args:
        names: The list.
        folder: Folder of every name that is no absolute path.
        suffix: Ending of every path.

    Example:
        >>> ListedPaths(NameList(b'one\\ntwo'), '/images', '.png')[1]
        '/images/two.png'
    """

    def __init__(self, names: NameList, folder: str, suffix: str) -> None:
        self.names, self.folder, self.suffix = names, folder, suffix
        self._hashes: np.ndarray | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_hashes': None}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return osp.join(self.folder, self.names[index] + self.suffix)

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield all paths in order, absolute and normalised."""
        folder = os.fsencode(osp.abspath(self.folder)) + b'/'
        suffix = self.suffix.encode()
        for names in self.names.chunks():
            text = b'\n'.join(names)
            if text.startswith((b'/', b'.')) or any(
                odd in text for odd in (b'//', b'/.', b'\n/', b'\n.')
            ):
                yield [osp.normpath(osp.join(folder, name + suffix)) for name in names]
            else:
                yield [folder + name + suffix for name in names]

    def hashes(self) -> np.ndarray:
        """Hash of every absolute path, (N,) int64; kept until :meth:`forget_hashes`."""
        if self._hashes is None:
            self._folders: set[bytes] = set()
            self._hashes = hash_names(self._chunks_and_folders(), len(self))
        return self._hashes

    def forget_hashes(self) -> None:
        """Free the memory of the hashes."""
        self._hashes = None

    def _chunks_and_folders(self) -> Iterator[list[bytes]]:
        for paths in self.chunks():
            self._folders.update({path.rpartition(b'/')[0] for path in paths})
            yield paths

    def missing(self) -> np.ndarray:
        """Indices of the paths that do not exist; every folder is listed once."""
        hashes = self.hashes()
        existing = np.sort(np.concatenate([_listing(folder) for folder in sorted(self._folders)]))
        return np.flatnonzero(~contains(existing, hashes))


def _listing(folder: bytes) -> np.ndarray:
    """Hashes of the absolute paths in a folder; empty if the folder does not exist."""
    try:
        with os.scandir(folder) as entries:
            return np.fromiter((hash(entry.path) for entry in entries), np.int64)
    except OSError:
        return np.empty(0, np.int64)


def hash_paths(paths: Sequence[str]) -> np.ndarray:
    """Hash of every absolute path, (N,) int64.

    Args:
        paths: :class:`ListedPaths`, or any other sequence of paths.
    """
    if hasattr(paths, 'hashes'):
        return paths.hashes()
    return hash_names(iter([[os.fsencode(osp.abspath(path)) for path in paths]]), len(paths))


def contains(ordered: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Test which of the wanted values are among the ordered ones.

    Args:
        ordered: (M,), sorted.
        wanted: (N,).

    Returns:
        np.ndarray: (N,) bool.

    Example:
        >>> contains(np.array([1, 3]), np.array([3, 2])).tolist()
        [True, False]
    """
    if not len(ordered):
        return np.zeros(len(wanted), bool)
    return ordered[np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)] == wanted


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Find entries whose hash occurs more than once.

    Args:
        hashes: (N,).

    Returns:
        np.ndarray: Indices of these entries, in ascending order.

    Example:
        >>> repeated(np.array([7, 5, 7])).tolist()
        [0, 2]
    """
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    return np.flatnonzero(contains(twice, hashes)) if len(twice) else np.empty(0, np.int64)


def read_bytes(path: str, start: int | None = None, stop: int | None = None) -> bytes:
    """Read the bytes [start, stop) of a file, by default all of them.

    Args:
        path: Local path, or an address that fsspec knows ('s3://...').
        start: First byte; None reads the complete file.
        stop: Byte after the last one.
    """
    if '://' in path:
        system, place = fsspec.core.url_to_fs(path)
        return system.cat_file(place, start=start, end=stop)
    with open(path, 'rb', buffering=0) as file:
        if start is None:
            return file.read()
        return os.pread(file.fileno(), stop - start, start)
