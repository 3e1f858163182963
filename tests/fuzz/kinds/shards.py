"""Tar shards and their indexes: cut short, of other files, or with lines that lead nowhere."""

import gzip
import io
import os
import tarfile

from ..grammar import Case, kind
from ..ground import bare, packed, shards

AREA = 'shards'
FIRST, SECOND = 'shards/shard-000000', 'shards/shard-000001'


@kind(AREA, shards, times=3)
def shards_that_are_none(case: Case):
    wrong = ['shard', 'shards/pool-*.tar', 7][case.turn]
    case.set('train_dataloader.dataset.unlabeled.shards', wrong)
    return 'shards', str(wrong)


@kind(AREA, shards)
def shard_named_twice(case: Case):
    case.set('train_dataloader.dataset.unlabeled.shards', ['shards', f'{SECOND}.tar'])
    return 'shards', f'{SECOND}.tar', 'twice'


@kind(AREA, shards, times=2)
def shard_cut_short(case: Case):
    path = case.file(f'{case.pick(FIRST, SECOND)}.tar')
    size = path.stat().st_size
    os.truncate(path, (case.number(600, size // 3), 0)[case.turn])
    return path.name, 'is cut short', 'copy'


@kind(AREA, shards)
def index_missing(case: Case):
    name = case.pick(FIRST, SECOND)
    case.file(f'{name}.txt').unlink()
    return f'{name}.tar', 'no index', 'shards index'


@kind(AREA, shards, times=6)
def index_that_is_none(case: Case):
    name = case.pick(FIRST, SECOND)
    lines = case.file(f'{name}.txt').read_text().splitlines()
    place = 2 if case.turn == 4 else case.number(0, 3)
    offset, size, image = lines[place].split(' ', 2)
    lines[place] = [
        image,
        f'{offset} {size}',
        f'-{offset} {size} {image}',
        f'{offset} many {image}',
        f'{int(offset) + 10**9} {size} {image}',
        '',
    ][case.turn]
    case.texts[f'{name}.txt'] = '\n'.join(lines) + '\n'
    if case.turn == 4:
        return f'{name}.tar', 'is cut short'
    return f'{name}.txt', f'line {place + 1}', 'shards index'


@kind(AREA, shards, times=2)
def index_of_nothing(case: Case):
    name = case.pick(FIRST, SECOND)
    case.texts[f'{name}.txt'] = ('', b'\xff\xfe\x00\x01' * 20)[case.turn]
    return f'{name}.txt', 'shards index'


@kind(AREA, packed, times=5)
def archive_to_be_indexed(case: Case):
    path = case.file(f'{FIRST}.tar')
    content = path.read_bytes()
    wrong = [
        b'',
        b'no archive\n' * 200,
        content[: case.number(2000, len(content) // 2)],
        gzip.compress(content),
        empty_tar('notes.txt', b'text'),
    ][case.turn]
    path.write_bytes(wrong)
    return f'{FIRST}.tar', ('tar file', 'tar file', 'tar file', 'compressed', 'holds no image')[
        case.turn
    ]


def empty_tar(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


@kind(AREA, bare, times=4)
def images_to_be_packed(case: Case):
    case.command = ['shards', 'make', '--images', 'more', '--out', 'shards']
    if case.turn == 0:
        case.command[3] = 'mores'
        return '--images', 'mores', 'no folder'
    if case.turn == 1:
        case.texts['list.txt'] = 'b0.png\nb9.png\n'
        case.command += ['--list', 'list.txt']
        return 'more/b9.png', 'fix the list'
    if case.turn == 2:
        case.command += ['--per-shard', '0']
        return '--per-shard', '0', 'expected 1 or more'
    case.texts['shards/pool.json'] = '{"source": "m'
    return 'shards/pool.json', 'remove'
