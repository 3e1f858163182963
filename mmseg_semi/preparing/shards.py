"""Write tar shards of images, and the indexes with which :class:`ShardedImages` reads them."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mmseg_semi.data.decoding import IMAGE_SUFFIXES
from mmseg_semi.data.pools import shard_index
from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.errors import SetupError
from mmseg_semi.files import remove_drafts, whole_file, write_whole

MANIFEST = 'pool.json'


def write_shards(
    names: Sequence[str],
    read: Callable[[str], bytes],
    out: str | Path,
    per_shard: int = 5000,
    seed: int | None = 0,
    source: str = '',
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Pack images, byte for byte, into ``shard-000000.tar``, ... with an index beside each.

    A shard gets its name when it is complete, and its index is written after it. The same call
    continues an interrupted run, and does not write existing shards again.

    Args:
        names: Names of the images in the shards, suffix included, without duplicates.
        read: Returns the content of an image, by its name.
        out: Folder of the shards.
        per_shard: Number of images in a shard; the last shard has the rest.
        seed: Seed of the order in which images are packed, which makes a shard a random sample.
            None keeps the order of the names.
        source: Origin of the images, for the manifest.
        advance: Called with the number of images of each finished shard, for a progress bar.

    Returns:
        int: Number of shards.

    Raises:
        SetupError: If the folder holds shards of other images or of another order, or a manifest that cannot be read.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    remove_drafts(out)
    order = range(len(names)) if seed is None else seeded_permutation(len(names), seed).tolist()
    digest = hashlib.sha256()
    for name in names:
        digest.update(f'{name}\n'.encode())
    plan = dict(
        source=source,
        images=len(names),
        names_sha256=digest.hexdigest(),
        per_shard=per_shard,
        seed=seed,
    )
    _claim(out, plan)
    starts = range(0, len(names), per_shard)
    for number, start in enumerate(starts):
        chosen = [names[i] for i in order[start : start + per_shard]]
        shard = out / f'shard-{number:06d}.tar'
        if not Path(shard_index(str(shard))).is_file():
            _write_tar(shard, chosen, read)
            index_shard(shard)
        advance(len(chosen))
    return len(starts)


def _claim(out: Path, plan: dict) -> None:
    """Write the manifest of the folder, or check that the existing one has the same settings."""
    manifest = out / MANIFEST
    if manifest.is_file():
        found = _read_manifest(manifest)
        different = [key for key in plan if key != 'source' and found.get(key) != plan[key]]
        if different:
            raise SetupError(
                f'{out} holds shards with {different[0]}={found.get(different[0])!r}, not '
                f'{plan[different[0]]!r}; name another folder (--out), or remove this one'
            )
    elif any(out.glob('*.tar')):
        raise SetupError(
            f'{out} holds tar files but no {MANIFEST}; name an empty folder (--out), or index '
            f'these files: mmseg-semi shards index {out}'
        )
    else:
        write_whole(manifest, json.dumps(plan, indent=1) + '\n')


def _read_manifest(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(found, dict):
            raise ValueError(f'it holds a {type(found).__name__}')
        return found
    except ValueError as error:
        raise SetupError(
            f'{path} is no manifest of shards ({error}); remove it together with the shards beside it, or name another folder '
            'by --out'
        ) from error


def _write_tar(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> None:
    with whole_file(path) as draft, tarfile.open(draft, mode='w') as tar:
        for name in names:
            content = read(name)
            info = tarfile.TarInfo(name)  # no times, no owners: the same images give the same shard
            info.size = len(content)
            tar.addfile(info, _Content(content))


class _Content:
    """Bytes as a file that is read once, from its beginning to its end."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = memoryview(content), 0

    def read(self, size: int) -> bytes:
        piece = self.content[self.place : self.place + size]
        self.place += len(piece)
        return bytes(piece)


def index_shard(shard: str | Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> int:
    """Write the index of a tar file: a line ``offset size name`` for every image.

    Args:
        shard: The tar file, made by this package or another one.
        suffixes: Suffixes of images. Other members, such as masks or texts, are skipped.

    Returns:
        int: Number of images.

    Raises:
        SetupError: If the file is no complete tar file, holds no image, or holds two images with
            one key (name up to its first dot), one of which may be a mask.
    """
    lines, keys = [], {}
    try:
        for name, offset, size in _members(shard):
            if not name.lower().endswith(tuple(suffixes)):
                continue
            folder, _, last = name.rpartition('/')
            key = (folder, last.partition('.')[0])
            if key in keys:
                raise SetupError(
                    f'{shard} holds {keys[key]} and {name}, two images with one key; name the '
                    'suffix of the images (--suffixes), so that no mask is indexed as an image'
                )
            keys[key] = name
            lines.append(f'{offset} {size} {name}\n')
    except (tarfile.TarError, OSError) as error:
        packer = _packer(shard)
        if packer:
            raise SetupError(
                f'{shard} is compressed by {packer}, in which no image has a place of its own; unpack it to a plain tar file'
            ) from error
        raise SetupError(
            f'{shard} is no complete tar file ({error}); write or copy it again'
        ) from error
    if not lines:
        raise SetupError(f'{shard} holds no image ({", ".join(suffixes)}); set --suffixes')
    write_whole(shard_index(str(shard)), ''.join(lines))
    return len(lines)


_PACKERS = {
    b'\x1f\x8b': 'gzip',
    b'BZh': 'bzip2',
    b'\xfd7zXZ': 'xz',
    b'(\xb5/\xfd': 'zstandard',
    b'PK\x03\x04': 'zip',
}


def _packer(path: str | Path) -> str | None:
    """Which program has compressed a file, by its first bytes."""
    with open(path, 'rb') as file:
        start = file.read(8)
    return next((name for mark, name in _PACKERS.items() if start.startswith(mark)), None)


def _members(shard: str | Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size in bytes of each file in a tar file."""
    end = os.path.getsize(shard)
    with tarfile.open(shard, 'r:') as tar:
        for member in tar:
            tar.members.clear()  # tarfile keeps every header otherwise
            if not member.isfile():
                continue
            if member.offset_data + member.size > end:
                raise tarfile.TarError(f'{member.name} is cut short')
            yield member.name, member.offset_data, member.size
