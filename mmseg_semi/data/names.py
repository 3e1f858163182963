"""Lists of names and paths that may have millions of entries.

Ten million paths as Python strings take a gigabyte and more, in every data loader's worker. Here a
list stays the bytes that it is, mapped from its file, with the place of every 64th line; and what is
compared are 64-bit hashes in arrays, names only where hashes agree.
"""

from __future__ import annotations

import mmap
import os
import os.path as osp
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec
import numpy as np

_STRIDE = 64  # lines from one noted place to the next
_CHUNK = 1 << 22  # bytes looked at in one go


class NameList(Sequence[str]):
    """Lines of a text file by their number.

    The file is mapped into memory: processes share its pages, and pickling passes the path on.

    Args:
        source: A file, which must not change while this lives; or the text itself.
    """

    def __init__(self, source: str | Path | bytes) -> None:
        self._path = None if isinstance(source, bytes) else os.fspath(source)
        self._buffer: mmap.mmap | bytes | None = source if self._path is None else None
        places, newlines = [np.zeros(1, np.int64)], 0
        buffer, end = self.buffer, len(self.buffer)
        for start in range(0, end, _CHUNK):
            chunk = np.frombuffer(buffer[start : start + _CHUNK], np.uint8)
            found = np.flatnonzero(chunk == 10)
            first = -(newlines + 1) % _STRIDE  # newline j stands in front of line j + 1
            places.append(found[first::_STRIDE] + (start + 1))
            newlines += len(found)
        self._places = np.concatenate(places)
        self._count = newlines + (end > 0 and buffer[end - 1] != 10)

    @property
    def buffer(self) -> mmap.mmap | bytes:
        """All bytes."""
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
        """A line without the white space around it."""
        if not 0 <= index < self._count:
            raise IndexError(f'line {index} of {self._count}')
        buffer, start = self.buffer, int(self._places[index // _STRIDE])
        for _ in range(index % _STRIDE):
            start = buffer.find(b'\n', start) + 1
        stop = buffer.find(b'\n', start)
        return buffer[start : stop if stop >= 0 else len(buffer)].strip().decode()

    def chunks(self) -> Iterator[list[bytes]]:
        """All lines in order, some hundred thousand at a time, without the white space around them."""
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


def hash_names(chunks: Iterator[list[bytes]], count: int) -> np.ndarray:
    """64-bit hashes, comparable within this process alone.

    Args:
        chunks: Names, some at a time.
        count: Number of all of them.

    Returns:
        np.ndarray: Shape (count,), int64.
    """
    hashes, start = np.empty(count, np.int64), 0
    for names in chunks:
        hashes[start : start + len(names)] = np.fromiter(map(hash, names), np.int64, len(names))
        start += len(names)
    return hashes


class ListedPaths(Sequence[str]):
    """Paths of the names of a list: folder / name + suffix.

    Args:
        names: The list.
        folder: Put in front of every name that is no absolute path.
        suffix: Put behind every name.
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
        """All paths in order, absolute and normalised."""
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
        """Hash of every absolute path; kept until :meth:`forget_hashes`."""
        if self._hashes is None:
            self._folders: set[bytes] = set()
            self._hashes = hash_names(self._chunks_and_folders(), len(self))
        return self._hashes

    def forget_hashes(self) -> None:
        """Free what :meth:`hashes` keeps for the next check."""
        self._hashes = None

    def _chunks_and_folders(self) -> Iterator[list[bytes]]:
        for paths in self.chunks():
            self._folders.update({path.rpartition(b'/')[0] for path in paths})
            yield paths

    def missing(self) -> np.ndarray:
        """Numbers of the paths that do not exist; every folder is listed once."""
        hashes = self.hashes()
        there = np.sort(np.concatenate([_listing(folder) for folder in sorted(self._folders)]))
        return np.flatnonzero(~contains(there, hashes))


def _listing(folder: bytes) -> np.ndarray:
    """Hashes of the absolute paths in a folder, none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return np.fromiter((hash(entry.path) for entry in entries), np.int64)
    except OSError:
        return np.empty(0, np.int64)


def hash_paths(paths: Sequence[str]) -> np.ndarray:
    """Hash of every absolute path, of :class:`ListedPaths` or of any others."""
    if hasattr(paths, 'hashes'):
        return paths.hashes()
    return hash_names(iter([[os.fsencode(osp.abspath(path)) for path in paths]]), len(paths))


def contains(ordered: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which of the wanted values are among the ordered ones.

    Args:
        ordered: Sorted, shape (M,).
        wanted: Shape (N,).

    Returns:
        np.ndarray: Shape (N,), bool.
    """
    if not len(ordered):
        return np.zeros(len(wanted), bool)
    return ordered[np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)] == wanted


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Numbers of the entries whose hash another entry has too, in order."""
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    return np.flatnonzero(contains(twice, hashes)) if len(twice) else np.empty(0, np.int64)


def read_bytes(path: str, start: int | None = None, stop: int | None = None) -> bytes:
    """Bytes [start, stop) of a file, local or wherever fsspec finds it; all of them by default."""
    if '://' in path:
        system, place = fsspec.core.url_to_fs(path)
        return system.cat_file(place, start=start, end=stop)
    with open(path, 'rb', buffering=0) as file:
        if start is None:
            return file.read()
        return os.pread(file.fileno(), stop - start, start)
