"""Download the archives of a data set: with progress, in several attempts, checked by MD5."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.progress import DownloadColumn, TransferSpeedColumn

from mmseg_semi.errors import SetupError
from mmseg_semi.files import commit
from mmseg_semi.preparing.archives import Archive
from mmseg_semi.preparing.progress import progress_bar

_CHUNK = 1 << 20
# A transfer that ends with one of these may succeed when it is tried again.
_DROPPED = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
_TRY_AGAIN = (408, 429)  # HTTP statuses: request timeout, too many requests


class DownloadError(SetupError):
    """The server at an address does not deliver the expected file."""


def download_archive(archive: Archive, folder: Path, mirror: str | None = None) -> Path:
    """Download an archive from the first of its addresses that delivers it.

    Args:
        archive: With ``urls`` and ``md5``.
        folder: Folder that receives the file.
        mirror: Address of a folder that holds the file too; tried first.

    Returns:
        Path: The file.

    Raises:
        SetupError: If no address delivers the file; the message holds the reason of each.
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
        f'{"; ".join(reasons)}; the received part is kept, so run the command again later, try '
        f'--mirror ADDRESS, or get {archive.name} from {archive.where} and name the file'
    )


def download(
    url: str, target: Path, md5: str, attempts: int = 5, timeout: float = 60, pause: float = 2
) -> Path:
    """Download a file, continue where a broken transfer stopped, and check its MD5.

    The received part lies in ``target`` + '.part', and the next attempt or the next run continues
    it (HTTP Range); a server without ranges sends the file from its beginning. The file gets its
    name once its checksum is right.

    Args:
        url: http or https address.
        target: File to write; an existing file is checked and kept.
        md5: MD5 checksum of the file, as data sets publish it. It finds damage; it is no defence
            against forgery.
        attempts: Number of transfers in a row that may bring nothing new.
        timeout: Seconds of silence after which a transfer ends.
        pause: Seconds before the second attempt; doubled before each further one.

    Returns:
        Path: ``target``.

    Raises:
        DownloadError: If the server has no such file, cannot be reached, or sends another file.
        SetupError: If the existing file has another checksum, or the disk is too small.
    """
    target = Path(target)
    if target.exists():
        found = _md5(target)
        if found != md5:
            raise SetupError(
                f'{target} is damaged or another file: its MD5 is {found}, expected {md5}; '
                'remove it'
            )
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'{target.name}.part')
    continued = part.exists()
    with progress_bar(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(f'downloading {target.name}', total=None)

        def show(received: int, total: int | None) -> None:
            bar.update(task, completed=received, total=total)

        found = _receive(url, part, attempts, timeout, pause, show)
        if found != md5 and continued:
            part.unlink()  # the old part may belong to another file: once from the beginning
            found = _receive(url, part, attempts, timeout, pause, show)
    if found != md5:
        part.unlink()
        raise DownloadError(f'{url} delivers a file with MD5 {found}, expected {md5}')
    commit(part, target, sync=False)
    return target


def _receive(
    url: str,
    part: Path,
    attempts: int,
    timeout: float,
    pause: float,
    show: Callable[[int, int | None], None],
) -> str:
    """Complete ``part`` in as many transfers as it needs, and return its MD5."""
    failures, most = 0, _size(part)
    while True:
        try:
            _transfer(url, part, timeout, show)
            return _md5(part)
        except _DROPPED as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused and error.code not in _TRY_AGAIN:
                raise DownloadError(f'{url} responds with {error.code} {error.reason}') from error
            failures = 1 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures >= attempts:
                reason = getattr(error, 'reason', None) or error
                raise DownloadError(f'{url} failed in {attempts} attempts ({reason})') from error
            time.sleep(pause * 2 ** (failures - 1))


def _transfer(
    url: str, part: Path, timeout: float, show: Callable[[int, int | None], None]
) -> None:
    """Receive the bytes that ``part`` lacks, or raise one of ``_DROPPED``."""
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
            part.unlink(missing_ok=True)  # longer than the file, so of another one
            raise ConnectionError('the received part does not fit the file') from error
        return  # the part is complete
    with response:
        start, length = 0, response.headers.get('Content-Length')
        if response.status == 206:
            start = int(response.headers['Content-Range'].split()[1].partition('-')[0])
            if start != have:
                raise ConnectionError(f'asked for bytes from {have}, received those from {start}')
        total = start + int(length) if length else None
        if total:
            _check_space(part.parent, total - start, url)
        with open(part, 'ab' if start else 'wb') as file:
            show(start, total)
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                show(file.tell(), total)
            received = file.tell()
    if total is not None and received < total:
        raise ConnectionError(f'closed after {received} of {total} bytes')


def _check_space(folder: Path, needed: int, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SetupError(
            f'{folder} has {free / 1e9:.1f} GB left, {url} needs {needed / 1e9:.1f} GB; free some '
            'space or name another --download-dir'
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
