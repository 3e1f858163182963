"""Wanted files of folders and archives, and archives that are damaged or lead outside."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from raw_data import pack

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.archives import Archive, open_sources


def everything(path: str) -> bool:
    return True


def is_text(path: str) -> bool:
    return path.endswith('.txt')


def contents(*sources: Path, scratch: Path, wanted=everything, archives=()) -> dict[str, bytes]:
    with open_sources(sources, scratch, wanted, archives) as files:
        return {name: file.read_bytes() for name, file in files.items()}


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


def test_links_in_archives_are_skipped(tmp_path):
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
    (folder / 'noise').write_bytes(np.random.default_rng(0).bytes(300_000))
    archive = pack(tmp_path / f'set{suffix}', folder)
    archive.write_bytes(archive.read_bytes()[:200_000])
    with pytest.raises(SetupError, match=rf'set\{suffix} is no complete archive \(.+\); get it'):
        contents(archive, scratch=tmp_path / 's')
    assert not (tmp_path / 's').exists()


def test_sources_that_cannot_be_opened(tmp_path):
    with pytest.raises(SetupError, match='nowhere does not exist; get a.tar from the museum'):
        contents(
            tmp_path / 'nowhere', scratch=tmp_path / 's', archives=[Archive('a.tar', 'the museum')]
        )
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(SetupError, match='neither a folder nor an archive'):
        contents(tmp_path / 'notes.txt', scratch=tmp_path / 's')
