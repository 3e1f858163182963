"""Downloads, archives and the process pool of the data set converters."""

import hashlib
import io
import json
import multiprocessing
import os
import shlex
import tarfile
import threading
import time
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from miniatures import ROOT, load_tool
from PIL import Image
from raw_data import pack, snapshot

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import preparation
from mmseg_semi.preparing.preparation import Archive, Job, Plan

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server:
    """A local HTTP server that behaves as badly as it is told to.

    Args:
        files: Content by path.
        drop_after: Bytes after which a response breaks off; None for never.
        drops: How many responses break off.
        ranges: Whether it knows ranges, or sends everything to whoever asks for a part.
        length: Whether it says how long a file is.
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
    return preparation.download(url, target, md5, pause=0, timeout=5, **changes)


# --------------------------------------------------------------------------------------- downloads


def test_a_download_goes_on_where_the_connection_dropped(tmp_path):
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
        with pytest.raises(preparation.DownloadError, match='given up after 3 attempts'):
            get(f'{server.url}/file', target, attempts=3)
    assert not target.exists() and (tmp_path / 'file.tar.part').stat().st_size == 100_000
    with Server({'/file': CONTENT}) as server:
        get(f'{server.url}/file', target)
    assert server.sent == 200_000
    assert target.read_bytes() == CONTENT


def test_a_part_that_was_complete_is_taken(tmp_path):
    (tmp_path / 'file.tar.part').write_bytes(CONTENT)
    with Server({'/file': CONTENT}) as server:
        assert get(f'{server.url}/file', tmp_path / 'file.tar').read_bytes() == CONTENT
    assert server.sent == 0


@pytest.mark.parametrize('old', [b'x' * 100_000, b'x' * 400_000])
def test_a_part_of_another_file_is_thrown_away(tmp_path, old):
    (tmp_path / 'file.tar.part').write_bytes(old)
    with Server({'/file': CONTENT}) as server:
        assert get(f'{server.url}/file', tmp_path / 'file.tar').read_bytes() == CONTENT


def test_a_file_of_unknown_length_is_judged_by_its_checksum(tmp_path):
    with Server({'/file': CONTENT}, length=False) as server:
        get(f'{server.url}/file', tmp_path / 'whole')
    with Server({'/file': CONTENT}, drop_after=1000, length=False) as server:
        with pytest.raises(preparation.DownloadError, match='gives a file with MD5'):
            get(f'{server.url}/file', tmp_path / 'cut')
    assert os.listdir(tmp_path) == ['whole']


def test_a_server_that_is_busy_is_asked_again_and_a_missing_file_is_not(tmp_path):
    with Server({'/file': CONTENT}) as server:
        get(f'{server.url}/busy', tmp_path / 'file')
        assert len(server.requests) == 2
        with pytest.raises(preparation.DownloadError, match='answers 404'):
            get(f'{server.url}/nothing', tmp_path / 'other')
        assert len(server.requests) == 3


def test_what_is_there_is_kept_if_it_is_the_file(tmp_path):
    target = tmp_path / 'file'
    target.write_bytes(CONTENT)
    assert get('http://127.0.0.1:9/file', target) == target
    target.write_bytes(b'other')
    with pytest.raises(SetupError, match='damaged or another file: its MD5 is .*; remove it'):
        get('http://127.0.0.1:9/file', target)


def test_a_full_disk_is_told_before_the_transfer(tmp_path, monkeypatch):
    usage = preparation.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(preparation.shutil, 'disk_usage', lambda path: usage)
    with Server({'/file': CONTENT}) as server:
        with pytest.raises(SetupError, match='GB left, .* needs .* GB; make room'):
            get(f'{server.url}/file', tmp_path / 'file')


def test_the_mirror_comes_first_and_every_address_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation.time, 'sleep', lambda seconds: None)
    with Server({'/own/a.tgz': CONTENT}) as server:
        archive = Archive('a.tgz', 'the museum', (f'{server.url}/own/a.tgz',), MD5)
        found = preparation.download_archive(archive, tmp_path, f'{server.url}/mirror/')
        assert found.read_bytes() == CONTENT
        assert [path for path, _ in server.requests] == ['/mirror/a.tgz', '/own/a.tgz']
        wrong = Archive('b.tgz', 'the museum', (f'{server.url}/b.tgz',), MD5)
        with pytest.raises(SetupError, match='404.* or get b.tgz from the museum'):
            preparation.download_archive(wrong, tmp_path)
    with pytest.raises(SetupError, match='--mirror ftp://x is no address'):
        preparation.download_archive(archive, tmp_path, 'ftp://x')


# ---------------------------------------------------------------------------------------- archives


def everything(path: str) -> bool:
    return True


def is_text(path: str) -> bool:
    return path.endswith('.txt')


def contents(*sources: Path, scratch: Path, wanted=everything, archives=()) -> dict[str, bytes]:
    with preparation.open_sources(sources, scratch, wanted, archives) as files:
        return {name: file.read_bytes() for name, file in files.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / 'raw/set'
    (root / 'deep/.hidden').mkdir(parents=True)
    (root / 'a.txt').write_bytes(b'a')
    (root / 'deep/b.txt').write_bytes(b'b' * 3000)
    (root / 'deep/c.bin').write_bytes(b'')
    return root


@pytest.mark.parametrize('suffix', ['.tar', '.tgz', '.tar.gz', '.zip'])
def test_folders_and_archives_hold_the_same(tmp_path, folder, suffix):
    archive = pack(tmp_path / f'set{suffix}', folder)
    expected = {'set/a.txt': b'a', 'set/deep/b.txt': b'b' * 3000}
    assert contents(archive, scratch=tmp_path / 's', wanted=is_text) == expected
    assert contents(folder, scratch=tmp_path / 's', wanted=is_text) == expected
    assert not (tmp_path / 's').exists()


def test_archives_in_a_folder_and_links_in_circles(tmp_path, folder):
    downloads = tmp_path / 'downloads'
    downloads.mkdir()
    pack(downloads / 'known.tgz', folder)
    pack(downloads / 'unknown.tgz', folder)
    (downloads / 'link').symlink_to(downloads)
    (downloads / 'linked').symlink_to(folder)
    found = contents(downloads, scratch=tmp_path / 's', archives=[Archive('known.tgz', '')])
    assert sorted(found) == [
        'downloads/known.tgz',
        'downloads/linked/a.txt',
        'downloads/linked/deep/b.txt',
        'downloads/linked/deep/c.bin',
        'downloads/unknown.tgz',
        'set/a.txt',
        'set/deep/b.txt',
        'set/deep/c.bin',
    ]


@pytest.mark.parametrize('name', ['../escaped', '/tmp/escaped', 'a/../../escaped', 'C:\\escaped'])
@pytest.mark.parametrize('suffix', ['.tar', '.zip'])
def test_an_archive_cannot_write_outside(tmp_path, name, suffix):
    archive = tmp_path / f'evil{suffix}'
    if suffix == '.zip':
        with zipfile.ZipFile(archive, 'w') as file:
            file.writestr(name, b'x')
    else:
        with tarfile.open(archive, 'w') as file:
            info = tarfile.TarInfo(name)
            info.size = 1
            file.addfile(info, io.BytesIO(b'x'))
    with pytest.raises(SetupError, match='which lies outside of the folder'):
        contents(archive, scratch=tmp_path / 'out/scratch')
    assert not list(tmp_path.rglob('escaped')) and not Path('/tmp/escaped').exists()


def test_links_in_archives_are_left_out(tmp_path):
    with tarfile.open(tmp_path / 'links.tar', 'w') as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f'link{ord(kind)}')
            info.type, info.linkname = kind, '/etc/hostname'
            file.addfile(info)
    with zipfile.ZipFile(tmp_path / 'links.zip', 'w') as file:
        info = zipfile.ZipInfo('link')
        info.external_attr = 0o120777 << 16
        file.writestr(info, '/etc/hostname')
    for name in ('links.tar', 'links.zip'):
        assert contents(tmp_path / name, scratch=tmp_path / 's') == {}


@pytest.mark.parametrize('suffix', ['.tar', '.tgz', '.zip'])
def test_an_archive_that_is_cut_off_is_named(tmp_path, folder, suffix):
    (folder / 'noise').write_bytes(CONTENT)
    archive = pack(tmp_path / f'set{suffix}', folder)
    archive.write_bytes(archive.read_bytes()[:200_000])
    with pytest.raises(SetupError, match=rf'set\{suffix} is no complete archive \(.+\); get it'):
        contents(archive, scratch=tmp_path / 's')
    assert not (tmp_path / 's').exists()


def test_sources_that_are_none(tmp_path):
    with pytest.raises(SetupError, match='nowhere does not exist; get a.tar from the museum'):
        contents(
            tmp_path / 'nowhere', scratch=tmp_path / 's', archives=[Archive('a.tar', 'the museum')]
        )
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(SetupError, match='neither a folder nor an archive'):
        contents(tmp_path / 'notes.txt', scratch=tmp_path / 's')


# --------------------------------------------------------------------------------------- preparing


def upper(source: Path, target: Path) -> None:
    preparation.write_whole(target, source.read_bytes().upper())


def fail(source: Path, target: Path) -> None:
    raise SetupError(f'{source.name} is damaged')


def die(source: Path, target: Path) -> None:
    """As if killed in the middle of a file."""

    def write_half(draft: Path) -> None:
        draft.write_bytes(b'half')
        os._exit(9)

    preparation._whole(target, write_half)


def tell_and_wait(source: Path, target: Path) -> None:
    preparation.write_whole(target, str(os.getpid()).encode())
    time.sleep(60)


def converter(out: Path, make=upper):
    def plan(files):
        jobs = [Job(make, file, out / 'made' / Path(name).name) for name, file in files.items()]
        return Plan(jobs, f'{len(jobs)} files', {'lists/all.txt': 'x\n'})

    return plan


@pytest.mark.parametrize('workers', [1, 2])
def test_whole_then_continued_then_nothing_to_do(tmp_path, folder, workers):
    out = tmp_path / 'out'
    args = ([folder], out, everything, converter(out))
    assert preparation.check_prepared(out) is None
    assert preparation.prepare(*args, workers=workers) == '3 files'
    first = snapshot(out)
    assert first['made/b.txt'][0] == b'B' * 3000 and first['lists/all.txt'][0] == b'x\n'
    assert sorted(first) == [
        'lists/all.txt',
        'made/a.txt',
        'made/b.txt',
        'made/c.bin',
        'prepared.json',
    ]
    assert preparation.check_prepared(out) == []

    # damaged and missing files are made again, the others stay
    (out / 'made/a.txt').unlink()
    (out / 'made/b.txt').write_bytes(b'B' * 10)
    assert preparation.check_prepared(out) == ['made/a.txt', 'made/b.txt']
    preparation.prepare(*args, workers=workers)
    again = snapshot(out)
    assert {name: value[0] for name, value in again.items()} == {
        name: value[0] for name, value in first.items()
    }
    assert again['made/c.bin'] == first['made/c.bin']


def test_an_interrupted_run_is_continued(tmp_path, folder):
    out = tmp_path / 'out'
    (out / 'made').mkdir(parents=True)
    (out / 'made/a.txt').write_bytes(b'KEPT')  # what a run left that was ended before its manifest
    (out / 'made/.b.txt.123.draft').write_bytes(b'half')
    preparation.prepare([folder], out, everything, converter(out))
    assert (out / 'made/a.txt').read_bytes() == b'KEPT'
    assert not list(out.rglob('*.draft'))


@pytest.mark.parametrize('workers', [1, 2])
def test_an_error_in_a_worker_is_the_users_sentence(tmp_path, folder, workers):
    out = tmp_path / 'out'
    with pytest.raises(SetupError, match='^(a.txt|b.txt|c.bin) is damaged$'):
        preparation.prepare([folder], out, everything, converter(out, fail), workers=workers)
    assert not (out / 'made/a.txt').exists() and not (out / 'prepared.json').exists()


def test_a_worker_that_is_killed_leaves_no_half_file(tmp_path, folder):
    out = tmp_path / 'out'
    with pytest.raises(SetupError, match='a worker process was ended from outside'):
        preparation.prepare([folder], out, everything, converter(out, die), workers=2)
    assert list((out / 'made').glob('.*.draft'))
    assert not [path for path in (out / 'made').iterdir() if path.suffix != '.draft']
    assert preparation.check_prepared(out) is None
    preparation.prepare([folder], out, everything, converter(out), workers=2)
    assert (out / 'made/b.txt').read_bytes() == b'B' * 3000
    assert not list((out / 'made').glob('.*.draft'))


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='needs /proc')
def test_workers_end_when_their_parent_is_killed(tmp_path, folder):
    out = tmp_path / 'out'
    args = ([folder], out, everything, converter(out, tell_and_wait))
    parent = multiprocessing.get_context('fork').Process(
        target=preparation.prepare, args=args, kwargs=dict(workers=3)
    )
    parent.start()
    wait_for(lambda: len(list(out.glob('made/*.*'))) == 3)
    workers = [int(path.read_text()) for path in out.glob('made/*.*')]
    assert len(set(workers)) == 3 and all(map(is_running, workers))
    parent.kill()
    parent.join()
    wait_for(lambda: not any(map(is_running, workers)))


def test_other_options_are_refused(tmp_path, folder):
    out = tmp_path / 'out'
    preparation.prepare([folder], out, everything, converter(out), options=dict(format='png'))
    assert preparation.check_prepared(out, dict(format='png')) == []
    with pytest.raises(SetupError, match='was prepared with format=png, not with format=jpg'):
        preparation.check_prepared(out, dict(format='jpg'))
    (out / 'prepared.json').write_text(json.dumps([1]))
    with pytest.raises(SetupError, match='is no manifest'):
        preparation.check_prepared(out)


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / 'folder/file'

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation.os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        preparation.write_whole(target, b'new')
    assert list(target.parent.iterdir()) == []


def test_placing_links_or_copies(tmp_path, monkeypatch):
    source = tmp_path / 'source'
    source.write_bytes(b'content')
    preparation.place(source, tmp_path / 'linked')
    assert (tmp_path / 'linked').samefile(source)

    def refuse(*args):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(preparation.os, 'link', refuse)
    preparation.place(source, tmp_path / 'copied')
    assert (tmp_path / 'copied').read_bytes() == b'content'
    assert not (tmp_path / 'copied').samefile(source)


def test_a_disk_error_is_one_sentence(tmp_path, folder, capsys):
    parser = preparation.argparse.ArgumentParser()
    preparation.add_arguments(parser, str(tmp_path / 'out'))
    args = parser.parse_args([str(folder), '--workers', '1'])

    def full(source, target):
        raise OSError(28, 'No space left on device', str(target))

    with pytest.raises(SetupError, match='a.txt: No space left on device; what is done is kept'):
        preparation.run(args, everything, converter(args.out, full))


def test_labels_are_written_as_indices(tmp_path):
    labels = np.array([[0, 20, 255], [3, 4, 5]])
    preparation.check_classes(labels, 21, 'x')
    preparation.write_labels(labels, tmp_path / 'x.png')
    image = Image.open(tmp_path / 'x.png')
    assert image.mode == 'L' and np.array_equal(np.array(image), labels)
    with pytest.raises(SetupError, match='x holds the value 20, expected 0 to 19 or 255'):
        preparation.check_classes(labels, 20, 'x')
    with pytest.raises(SetupError, match='x is in colour'):
        preparation.check_classes(np.zeros((2, 2, 3)), 20, 'x')


def test_commands_of_the_documentation():
    commands = [
        shlex.split(line, comments=True)[1:]
        for line in (ROOT / 'docs/data.md').read_text().splitlines()
        if line.startswith('python ')
    ]
    assert len(commands) >= 10
    for script, *args in commands:
        load_tool(script.removeprefix('tools/').removesuffix('.py')).parse_args(args)
