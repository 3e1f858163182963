"""Downloads from a server that drops connections, knows no ranges, or has another file."""

import hashlib
import os
import shutil
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import downloads
from mmseg_semi.preparing.archives import Archive

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server:
    """A local HTTP server with the faults of real ones.

    Args:
        files: Content by path.
        drop_after: Number of bytes after which a response breaks off; None for never.
        drops: Number of responses that break off.
        ranges: Whether it supports ranges; otherwise it sends the complete file.
        length: Whether it sends the length of a file.
    """

    def __init__(self, files, drop_after=None, drops=10**9, ranges=True, length=True) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        outer, self.drops = self, drops

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get('Range')
                outer.requests.append((self.path, asked))
                if self.path == '/busy' and len(outer.requests) == 1:
                    return self.send_error(503)
                name = '/file' if self.path == '/busy' else self.path
                if name not in files:
                    return self.send_error(404)
                content, start = files[name], 0
                if asked and ranges:
                    start = int(asked.removeprefix('bytes=').rstrip('-'))
                    if start >= len(content):
                        self.send_response(416)
                        self.send_header('Content-Range', f'bytes */{len(content)}')
                        return self.end_headers()
                    self.send_response(206)
                    end = len(content) - 1
                    self.send_header('Content-Range', f'bytes {start}-{end}/{len(content)}')
                else:
                    self.send_response(200)
                body = content[start:]
                if length:
                    self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                if drop_after is not None and outer.drops > 0:
                    outer.drops -= 1
                    body = body[:drop_after]
                self.wfile.write(body)
                outer.sent += len(body)
                self.close_connection = True

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=partial(self.server.serve_forever, 0.01), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')


def get(url: str, target: Path, md5: str = MD5, **changes) -> Path:
    return downloads.download(url, target, md5, pause=0, timeout=5, **changes)


def test_a_download_continues_where_the_connection_dropped(tmp_path):
    target = tmp_path / 'down/file.tar'
    with Server({'/file': CONTENT}, drop_after=70_000) as server:
        assert get(f'{server.url}/file', target) == target
    assert target.read_bytes() == CONTENT
    starts = [asked for _, asked in server.requests]
    assert starts == [None, *(f'bytes={n}-' for n in (70_000, 140_000, 210_000, 280_000))]
    assert server.sent == len(CONTENT)  # no byte twice
    assert os.listdir(target.parent) == ['file.tar']


def test_a_server_that_ignores_ranges_sends_everything_again(tmp_path):
    with Server({'/file': CONTENT}, drop_after=200_000, drops=2, ranges=False) as server:
        target = get(f'{server.url}/file', tmp_path / 'file.tar')
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 3 and server.requests[1][1] == 'bytes=200000-'


def test_another_run_continues_the_part(tmp_path):
    target = tmp_path / 'file.tar'
    with Server({'/file': CONTENT}, drop_after=0) as server:
        (tmp_path / 'file.tar.part').write_bytes(CONTENT[:100_000])
        with pytest.raises(downloads.DownloadError, match='failed in 3 attempts'):
            get(f'{server.url}/file', target, attempts=3)
    assert not target.exists() and (tmp_path / 'file.tar.part').stat().st_size == 100_000
    with Server({'/file': CONTENT}) as server:
        get(f'{server.url}/file', target)
    assert server.sent == 200_000
    assert target.read_bytes() == CONTENT


def test_a_complete_part_is_used(tmp_path):
    (tmp_path / 'file.tar.part').write_bytes(CONTENT)
    with Server({'/file': CONTENT}) as server:
        assert get(f'{server.url}/file', tmp_path / 'file.tar').read_bytes() == CONTENT
    assert server.sent == 0


@pytest.mark.parametrize('old', [b'x' * 100_000, b'x' * 400_000])
def test_a_part_of_another_file_is_removed(tmp_path, old):
    (tmp_path / 'file.tar.part').write_bytes(old)
    with Server({'/file': CONTENT}) as server:
        assert get(f'{server.url}/file', tmp_path / 'file.tar').read_bytes() == CONTENT


def test_a_file_of_unknown_length_is_checked_by_its_checksum(tmp_path):
    with Server({'/file': CONTENT}, length=False) as server:
        get(f'{server.url}/file', tmp_path / 'whole')
    with Server({'/file': CONTENT}, drop_after=1000, length=False) as server:
        with pytest.raises(downloads.DownloadError, match='delivers a file with MD5'):
            get(f'{server.url}/file', tmp_path / 'cut')
    assert os.listdir(tmp_path) == ['whole']


def test_a_busy_server_is_tried_again_and_a_missing_file_is_not(tmp_path):
    with Server({'/file': CONTENT}) as server:
        get(f'{server.url}/busy', tmp_path / 'file')
        assert len(server.requests) == 2
        with pytest.raises(downloads.DownloadError, match='responds with 404'):
            get(f'{server.url}/nothing', tmp_path / 'other')
        assert len(server.requests) == 3


def test_an_existing_file_is_kept_if_its_checksum_is_right(tmp_path):
    target = tmp_path / 'file'
    target.write_bytes(CONTENT)
    assert get('http://127.0.0.1:9/file', target) == target
    target.write_bytes(b'other')
    with pytest.raises(SetupError, match='damaged or another file: its MD5 is .*; remove it'):
        get('http://127.0.0.1:9/file', target)


def test_a_full_disk_is_reported_before_the_transfer(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with Server({'/file': CONTENT}) as server:
        with pytest.raises(SetupError, match='GB left, .* needs .* GB; free some space'):
            get(f'{server.url}/file', tmp_path / 'file')


def test_the_mirror_comes_first_and_every_address_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    with Server({'/own/a.tgz': CONTENT}) as server:
        archive = Archive('a.tgz', 'the museum', (f'{server.url}/own/a.tgz',), MD5)
        found = downloads.download_archive(archive, tmp_path, f'{server.url}/mirror/')
        assert found.read_bytes() == CONTENT
        assert [path for path, _ in server.requests] == ['/mirror/a.tgz', '/own/a.tgz']
        wrong = Archive('b.tgz', 'the museum', (f'{server.url}/b.tgz',), MD5)
        with pytest.raises(SetupError, match='404.* or get b.tgz from the museum'):
            downloads.download_archive(wrong, tmp_path)
    with pytest.raises(SetupError, match='--mirror ftp://x is no address'):
        downloads.download_archive(archive, tmp_path, 'ftp://x')
