"""What the data set converters of tools/dataset_converters share.

A converter says which files of a source it reads and what each becomes (:class:`Plan`);
:func:`prepare` does the rest: it downloads archives, opens folders and archives alike, works in a
process pool, and knows when there is nothing left to do.

Three promises hold throughout: a file appears under its name when it is whole and not before, what
is there already is not made again, and no archive writes outside the folder it is unpacked into.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import stat
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mmseg_semi.errors import SetupError

VOID = 255
MANIFEST = 'prepared.json'
"""Lies in the folder of a prepared data set and names every file with its size."""

_SCRATCH = '.unpacked'
_ARCHIVES = ('.tar', '.tgz', '.tar.gz', '.tar.bz2', '.tar.xz', '.zip')
_CHUNK = 1 << 20
_BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)
# A transfer that ends like this may go well when it is tried again.
_DROPPED = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Archive:
    """A file in which a data set is published.

    Args:
        name: File name, e.g. 'benchmark.tgz'.
        where: Where users get it, in words or as an address.
        urls: Addresses for the download, the first one is tried first. Empty where the publisher
            asks for a login or states no licence.
        md5: Checksum of the whole file; needed with ``urls``.
        size: Bytes, for messages.
        markers: Parts of a path any of which tells that a folder holds what is in this archive, so
            that it need not be downloaded.
    """

    name: str
    where: str
    urls: tuple[str, ...] = ()
    md5: str = ''
    size: int = 0
    markers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One file to make.

    Args:
        make: Called as ``make(source, target)`` in a worker process; writes ``target`` by
            :func:`write_whole`.
        source: File to read.
        target: File to make.
    """

    make: Callable[[Path, Path], None]
    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a converter makes of the files it found.

    Args:
        jobs: One for each file of the result.
        summary: What the result holds, in words.
        texts: Lists to write, by path below the folder of the result.
    """

    jobs: list[Job]
    summary: str
    texts: dict[str, str] = field(default_factory=dict)


# ------------------------------------------------------------------------------- the command line


def add_arguments(
    parser: argparse.ArgumentParser, out: str, archives: Sequence[Archive] = ()
) -> None:
    """Arguments that every converter takes.

    Args:
        parser: Of the tool.
        out: Default folder of the result.
        archives: What the data set is published as; options for the download are added where one
            of them may be downloaded.
    """
    parser.add_argument(
        'sources',
        nargs='*',
        type=Path,
        help='folders or archives (tar, tgz, zip) that you have; default is the folder --out',
    )
    parser.add_argument('--out', type=Path, default=Path(out), help=f'default {out}')
    if any(archive.urls for archive in archives):
        parser.add_argument(
            '--download',
            action='store_true',
            help='get what the sources lack of '
            + ' and '.join(f'{a.name} ({a.size / 1e9:.1f} GB)' for a in archives if a.urls),
        )
        parser.add_argument(
            '--download-dir',
            type=Path,
            default=Path('data/downloads'),
            help='where archives are kept; default data/downloads',
        )
        parser.add_argument(
            '--mirror', help='address of a folder that holds the archives too; tried first'
        )
    parser.add_argument(
        '--workers', type=int, default=_cores(), help='processes; default one a core'
    )


def run(
    args: argparse.Namespace,
    wanted: Callable[[str], bool],
    plan: Callable[[dict[str, Path]], Plan],
    archives: Sequence[Archive] = (),
    options: dict | None = None,
) -> None:
    """Body of a converter: download if asked to, prepare, and print what happened.

    Args:
        args: Parsed arguments of :func:`add_arguments`.
        wanted: As in :func:`prepare`.
        plan: As in :func:`prepare`.
        archives: As in :func:`add_arguments`.
        options: As in :func:`prepare`.
    """
    sources = list(args.sources)
    stale = check_prepared(args.out, options)
    if stale == []:
        print(f'{args.out}: prepared already: {_describe(args.out)}; nothing to do')
        return
    if stale:
        print(f'{args.out}: {len(stale)} files are missing or changed, e.g. {stale[0]}')
    if getattr(args, 'download', False):
        given = list(sources)
        for archive in archives:
            if archive.urls and not any(_holds(source, archive, wanted) for source in given):
                sources.append(download_archive(archive, args.download_dir, args.mirror))
    if not sources and args.out.is_dir():
        sources = [args.out]
    if not sources:
        offer = ', or let it be downloaded: --download' if hasattr(args, 'download') else ''
        raise SetupError(
            f'no source is given and {args.out} does not exist; get {where_to_get(archives)}, '
            f'and name the files or their folder{offer}'
        )
    start = time.monotonic()
    try:
        summary = prepare(sources, args.out, wanted, plan, archives, options, args.workers)
    except OSError as error:
        if error.errno is None:
            raise
        raise SetupError(
            f'{error.filename or args.out}: {error.strerror}; what is done is kept, run the command '
            'again when this is mended'
        ) from error
    print(f'{args.out}: {summary} ({time.monotonic() - start:.0f} s)')


def _holds(source: Path, archive: Archive, wanted: Callable[[str], bool]) -> bool:
    """Whether a source makes the download of an archive unnecessary."""
    if source.name == archive.name or (source / archive.name).is_file():
        return True
    return source.is_dir() and any(
        marker in path for path, _ in _walk(source, wanted) for marker in archive.markers
    )


def where_to_get(archives: Sequence[Archive], names: Iterable[str] | None = None) -> str:
    """What is published where, in words, for an error.

    Args:
        archives: All archives of the data set.
        names: Those to speak of. Defaults to all.
    """
    chosen = [a for a in archives if names is None or a.name in set(names)]
    return ' and '.join(f'{a.name} from {a.where}' for a in chosen)


def _cores() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# -------------------------------------------------------------------------------------- preparing


def prepare(
    sources: Sequence[Path],
    out: Path,
    wanted: Callable[[str], bool],
    plan: Callable[[dict[str, Path]], Plan],
    archives: Sequence[Archive] = (),
    options: dict | None = None,
    workers: int = 1,
) -> str:
    """Make a data set from folders and archives.

    Files that are there already are kept, so an interrupted run is continued by running it again.
    Files of a prepared data set that changed since are made anew.

    Args:
        sources: Folders or archives. A folder may hold the published archives themselves.
        out: Folder of the result.
        wanted: Whether the converter reads a file, by its path in the source with '/'.
        plan: Makes the plan from the wanted files, given as path on disk by path in the source.
        archives: What the data set is published as.
        options: What else the result depends on; plain values.
        workers: Processes; 1 works in this one.

    Returns:
        str: The plan's summary.

    Raises:
        SetupError: If a source is missing or damaged, or the plan finds something wrong.
    """
    out = Path(out)
    stale = set(check_prepared(out, options) or ())
    with open_sources(sources, out / _SCRATCH, wanted, archives) as files:
        todo = plan(files)
        _remove_drafts({job.target.parent for job in todo.jobs})
        _work([job for job in todo.jobs if _is_due(job, out, stale)], workers, f'making {out}')
    for name, text in todo.texts.items():
        write_whole(out / name, text.encode())
    _write_manifest(out, [job.target for job in todo.jobs], todo, sources, options)
    return todo.summary


def _is_due(job: Job, out: Path, stale: set[str]) -> bool:
    if not job.target.exists():
        return True
    if job.target.relative_to(out).as_posix() not in stale:
        return False
    return not job.target.samefile(job.source)


def _work(jobs: Sequence[Job], workers: int, title: str) -> None:
    """Do all jobs, in a process pool with a progress bar; the first error ends it."""
    for folder in {job.target.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    if workers <= 1 or len(jobs) < 2:
        with _bar(MofNCompleteColumn()) as bar:
            for job in bar.track(jobs, description=title):
                job.make(job.source, job.target)
        return
    # A forked worker has the stack imported already, which takes seconds otherwise; macOS and
    # Windows cannot fork safely.
    method = 'fork' if sys.platform.startswith('linux') else 'spawn'
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), _begin_worker)
    try:
        # before the bar, whose thread a forked worker must not inherit half-way
        futures = [pool.submit(job.make, job.source, job.target) for job in jobs]
        with _bar(MofNCompleteColumn()) as bar:
            for future in bar.track(as_completed(futures), len(futures), description=title):
                future.result()
    except BrokenProcessPool as error:
        raise SetupError(
            'a worker process was ended from outside, as happens when memory runs out; run the '
            'command again with fewer --workers, what is done is kept'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def end_with_parent() -> None:
        # workers of a parent that was killed would wait for work for ever
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _bar(*columns) -> Progress:
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


# ------------------------------------------------------------------------------- the written state


def check_prepared(out: Path, options: dict | None = None) -> list[str] | None:
    """Compare a folder with its manifest.

    Args:
        out: Folder of a result.
        options: What the result shall depend on.

    Returns:
        list[str] | None: Files that are missing or have another size, empty if all is well; None
            if the folder was not prepared to the end.

    Raises:
        SetupError: If the folder was prepared with other options.
    """
    path = Path(out) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
        found, files = manifest['options'], manifest['files']
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f'{path} is no manifest of a prepared data set; remove it') from error
    if found != (options or {}):
        raise SetupError(
            f'{out} was prepared with {_words(found)}, not with {_words(options or {})}; remove '
            'the folder, or name another one by --out'
        )
    sizes: dict[str, dict[str, int]] = {}
    stale = []
    for name, size in files.items():
        folder, _, last = name.rpartition('/')
        if folder not in sizes:  # one listing a folder
            sizes[folder] = _sizes(Path(out) / folder)
        if sizes[folder].get(last) != size:
            stale.append(name)
    return stale


def _sizes(folder: Path) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def _words(options: dict) -> str:
    return ', '.join(f'{name}={value}' for name, value in options.items()) or 'no options'


def _describe(out: Path) -> str:
    manifest = json.loads((out / MANIFEST).read_text(encoding='utf-8'))
    return f'{manifest["summary"]}, from {", ".join(manifest["sources"])}'


def _write_manifest(
    out: Path, targets: Sequence[Path], plan: Plan, sources: Sequence[Path], options: dict | None
) -> None:
    names = [target.relative_to(out).as_posix() for target in targets] + list(plan.texts)
    manifest = dict(
        summary=plan.summary,
        sources=[str(source) for source in sources],
        options=options or {},
        files={name: (out / name).stat().st_size for name in sorted(names)},
    )
    write_whole(out / MANIFEST, json.dumps(manifest, indent=0).encode())


def write_whole(target: Path, content: bytes) -> None:
    """Write a file as a whole or not at all: beside its place, then renamed."""
    _whole(target, lambda draft: draft.write_bytes(content))


def place(source: Path, target: Path) -> None:
    """Put a file into its place unchanged: a hard link where the disk allows one, else a copy."""

    def link_or_copy(draft: Path) -> None:
        try:
            os.link(os.path.realpath(source), draft)
        except OSError:
            shutil.copyfile(source, draft)

    _whole(target, link_or_copy)


def _whole(target: Path, write: Callable[[Path], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f'.{target.name}.{os.getpid()}.draft')
    try:
        write(draft)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _remove_drafts(folders: Iterable[Path]) -> None:
    """What a run left that was killed in the middle of a file."""
    for folder in folders:
        for draft in folder.glob('.*.draft'):
            draft.unlink(missing_ok=True)


# ---------------------------------------------------------------------------- folders and archives


@contextmanager
def open_sources(
    sources: Sequence[Path],
    scratch: Path,
    wanted: Callable[[str], bool],
    archives: Sequence[Archive] = (),
) -> Iterator[dict[str, Path]]:
    """The wanted files of folders and archives, as files on disk.

    Archives are unpacked into ``scratch``, wanted files alone, which is removed at the end; when the
    run is killed, the next one goes on from what is there. Hidden folders are passed over.

    Args:
        sources: Folders or archives; where two hold the same path, the first one counts.
        scratch: Folder to unpack into.
        wanted: Whether a file is wanted, by its path in the source. Paths in a folder begin with the
            folder's own name, as those in archives usually do.
        archives: Those that may lie in a folder packed as they were published.

    Yields:
        dict[str, Path]: Path on disk by path in the source.

    Raises:
        SetupError: If a source is missing, is no archive or is cut off, or names a path outside.
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
    """Unpack the wanted files of one archive."""
    if not archive.name.lower().endswith(_ARCHIVES):
        raise SetupError(
            f'{archive} is neither a folder nor an archive ({", ".join(_ARCHIVES)}); name the '
            'downloaded file or the folder that it was unpacked into'
        )
    found = {}
    try:
        with _bar(DownloadColumn()) as bar, open(archive, 'rb') as raw:
            task = bar.add_task(f'unpacking {archive.name}', total=archive.stat().st_size)
            for name, size, read in _members(raw):
                bar.update(task, completed=raw.tell())
                path = _inside(name, archive)
                if not wanted(path):
                    continue
                found[path] = target = folder / path
                if not target.is_file() or target.stat().st_size != size:
                    with read() as content:
                        _whole(target, partial(_copy, content, size))
            bar.update(task, completed=archive.stat().st_size)
    except _BROKEN_ARCHIVE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the archive's
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SetupError(f'{archive} is no complete archive ({reason}); get it again') from error
    return found


def _copy(content: io.BufferedIOBase, size: int, draft: Path) -> None:
    with open(draft, 'wb') as file:
        shutil.copyfileobj(content, file, _CHUNK)
        if file.tell() != size:
            raise EOFError('unexpected end of data')


def _members(raw: io.BufferedReader) -> Iterator[tuple[str, int, Callable]]:
    """(path, bytes, opener) of the regular files, in one pass; links and devices are left out."""
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
    """A path in an archive, without './'; refused if it leads out of the folder."""
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or ':' in path.parts[0]:
        raise SetupError(
            f'{archive} names {name!r}, which lies outside of the folder it is unpacked into; this '
            'is not the published file, get it from its publisher'
        )
    return path.as_posix()


# --------------------------------------------------------------------------------------- downloads


def download_archive(archive: Archive, folder: Path, mirror: str | None = None) -> Path:
    """Download an archive, from the first of its addresses that gives it.

    Args:
        archive: With ``urls`` and ``md5``.
        folder: Where it is kept.
        mirror: Address of a folder that holds it too; tried first.

    Returns:
        Path: The file.

    Raises:
        SetupError: If no address gives it; names every reason.
    """
    urls = list(archive.urls)
    if mirror:
        if not mirror.startswith(('http://', 'https://')):
            raise SetupError(f'--mirror {mirror} is no address; expected http:// or https://')
        urls.insert(0, f'{mirror.rstrip("/")}/{archive.name}')
    reasons = []
    for url in urls:
        try:
            return download(url, Path(folder) / archive.name, archive.md5)
        except DownloadError as error:
            reasons.append(str(error))
    raise SetupError(
        f'{"; ".join(reasons)}; what has arrived is kept, so run the command again later, try '
        f'--mirror ADDRESS, or get {archive.name} from {archive.where} and name the file'
    )


class DownloadError(SetupError):
    """An address does not give its file."""


def download(
    url: str, target: Path, md5: str, attempts: int = 5, timeout: float = 60, pause: float = 2
) -> Path:
    """Download a file with progress, going on where a broken transfer stopped, and check it.

    What has arrived lies in ``target`` + '.part' and is continued by the next attempt or the next
    run (HTTP Range); a server that does not know ranges sends everything again. The file gets its
    name when its checksum is right.

    Args:
        url: http or https address.
        target: File to write; one that is there is checked and kept.
        md5: Checksum of the whole file, as data sets publish it. It finds damage; it is no defence
            against forgery.
        attempts: How many times in a row a transfer may bring nothing new.
        timeout: Seconds of silence that end a transfer.
        pause: Seconds before the second attempt; doubled before each further one.

    Returns:
        Path: ``target``.

    Raises:
        DownloadError: If the server has no such file, stays out of reach, or sends another file.
        SetupError: If the file that is there is another one, or the disk is too small.
    """
    target = Path(target)
    if target.exists():
        if _md5(target) != md5:
            raise SetupError(
                f'{target} is damaged or another file: its MD5 is {_md5(target)}, expected {md5}; '
                'remove it'
            )
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'{target.name}.part')
    continued = part.exists()
    with _bar(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(f'getting {target.name}', total=None)
        failures, most = 0, _size(part)
        while True:
            try:
                _transfer(
                    url, part, timeout, lambda now, of: bar.update(task, completed=now, total=of)
                )
            except _DROPPED as error:
                refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
                if refused and error.code not in (408, 429):  # slow, or asked too often
                    raise DownloadError(f'{url} answers {error.code} {error.reason}') from error
                failures = 1 if _size(part) > most else failures + 1
                most = max(most, _size(part))
                if failures >= attempts:
                    reason = getattr(error, 'reason', None) or error
                    raise DownloadError(
                        f'{url} was given up after {attempts} attempts ({reason})'
                    ) from error
                time.sleep(pause * 2 ** (failures - 1))
                continue
            found = _md5(part)
            if found == md5:
                break
            part.unlink()
            if not continued:
                raise DownloadError(f'{url} gives a file with MD5 {found}, expected {md5}')
            continued = False  # the old part may be of another file: once from the beginning
    os.replace(part, target)
    return target


def _transfer(url: str, part: Path, timeout: float, show: Callable[[int, int | None], None]):
    """Get what ``part`` lacks, or raise one of ``_DROPPED``."""
    have = _size(part)
    request = urllib.request.Request(url, headers={'User-Agent': 'mmseg_semi'})
    if have:
        request.add_header('Range', f'bytes={have}-')
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        if error.headers.get('Content-Range') != f'bytes */{have}':
            part.unlink(missing_ok=True)  # longer than the file: of another one
            raise ConnectionError('the part does not fit the file') from error
        return  # everything is there
    with response:
        start, length = 0, response.headers.get('Content-Length')
        if response.status == 206:
            start = int(response.headers['Content-Range'].split()[1].partition('-')[0])
            if start != have:
                raise ConnectionError(f'asked for bytes from {have}, got those from {start}')
        total = start + int(length) if length else None
        free = shutil.disk_usage(part.parent).free
        if total and total - start > free:
            raise SetupError(
                f'{part.parent} has {free / 1e9:.1f} GB left, {url} needs '
                f'{(total - start) / 1e9:.1f} GB; make room or name another --download-dir'
            )
        with open(part, 'ab' if start else 'wb') as file:
            show(start, total)
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                show(file.tell(), total)
            arrived = file.tell()
    if total is not None and arrived < total:
        raise ConnectionError(f'closed after {arrived} of {total} bytes')


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


# ------------------------------------------------------------------------------------ label images


def decode(content: bytes, name: str | Path) -> Image.Image:
    """Decode an image file.

    Raises:
        SetupError: If it is damaged or no image.
    """
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # each decoder raises its own kinds
        reason = ' '.join(str(error).split())
        if 'cannot identify image file' in reason:  # goes on with the address of a buffer
            reason = 'no image format that Pillow knows'
        raise SetupError(f'{name} cannot be decoded ({reason}); get the file again') from error
    return image


def write_labels(labels: np.ndarray, target: Path) -> None:
    """Write class indices of shape (H, W) as a PNG of one channel, without a palette."""
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint8)).save(buffer, 'PNG')
    write_whole(target, buffer.getvalue())


def check_classes(labels: np.ndarray, num_classes: int, name: str | Path) -> None:
    """Refuse labels that are neither a class nor 255.

    Args:
        labels: (H, W) integers.
        num_classes: Number of classes.
        name: File, for the error.

    Raises:
        SetupError: Naming the file and the first wrong value.
    """
    if labels.ndim != 2:
        raise SetupError(f'{name} is in colour, expected class indices in one channel')
    wrong = labels[(labels >= num_classes) & (labels != VOID)]
    if wrong.size:
        raise SetupError(
            f'{name} holds the value {wrong[0]}, expected 0 to {num_classes - 1} or {VOID} for void'
        )
