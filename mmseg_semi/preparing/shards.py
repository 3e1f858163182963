"""Writing tar shards of images, and the indexes that :class:`ShardedImages` reads them by."""

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
    """Pack images into ``shard-000000.tar``, ... with an index beside each, as they are, bit for bit.

    A shard appears whole, and its index after it: a run that was interrupted is continued by the same
    call, and what is there is not written again.

    Args:
        names: Names of the images in the shards, ending included, all different.
        read: Content of an image by its name.
        out: Folder of the shards.
        per_shard: Images of a shard; the last has the rest.
        seed: Of the order in which images are packed, so that a shard is a fair sample. None keeps the
            order of the names.
        source: What the manifest calls the images' origin.
        advance: Told how many images are done, for a progress bar.

    Returns:
        int: Number of shards.

    Raises:
        SetupError: If the folder holds shards of other images or of another order.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
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
    """Note what the folder is for, or check that it was for the same."""
    manifest = out / MANIFEST
    if manifest.is_file():
        found = json.loads(manifest.read_text(encoding='utf-8'))
        different = [key for key in plan if key != 'source' and found.get(key) != plan[key]]
        if different:
            raise SetupError(
                f'{out} holds shards with {different[0]}={found.get(different[0])!r}, not '
                f'{plan[different[0]]!r}; name another folder (--out), or remove this one'
            )
    elif any(out.glob('*.tar')):
        raise SetupError(
            f'{out} holds tar files but no {MANIFEST}; name an empty folder (--out), or index what is '
            f'there: python tools/shards.py index {out}'
        )
    else:
        _write_whole(manifest, json.dumps(plan, indent=1).encode() + b'\n')


def _write_tar(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> None:
    unfinished = path.with_name(path.name + '.part')
    with open(unfinished, 'wb') as file:
        with tarfile.open(fileobj=file, mode='w') as tar:
            for name in names:
                content = read(name)
                info = tarfile.TarInfo(name)  # no times and owners: same images, same shard
                info.size = len(content)
                file_like = _Content(content)
                tar.addfile(info, file_like)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


class _Content:
    """Bytes as a file that is read once."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = memoryview(content), 0

    def read(self, size: int) -> bytes:
        piece = self.content[self.place : self.place + size]
        self.place += len(piece)
        return bytes(piece)


def index_shard(shard: str | Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> int:
    """Write the index of a tar file: a line ``offset size name`` for every image.

    Args:
        shard: The tar file, of this package or another.
        suffixes: Endings of what is an image. Other members, such as labels or texts, are left out.

    Returns:
        int: Number of images.

    Raises:
        SetupError: If the file is no whole tar file, holds no image, or two of one key (name up to its
            first dot), one of which may be a mask.
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
                    f'{shard} holds {keys[key]} and {name}, two images of one key; name the ending of '
                    'the images (--suffixes), so that no mask is taken for one'
                )
            keys[key] = name
            lines.append(f'{offset} {size} {name}\n')
    except (tarfile.TarError, OSError) as error:
        raise SetupError(
            f'{shard} is no whole tar file ({error}); write or copy it again'
        ) from error
    if not lines:
        raise SetupError(f'{shard} holds no image ({", ".join(suffixes)}); set --suffixes')
    _write_whole(Path(shard_index(str(shard))), ''.join(lines).encode())
    return len(lines)


def _members(shard: str | Path) -> Iterator[tuple[str, int, int]]:
    end = os.path.getsize(shard)
    with tarfile.open(shard, 'r:') as tar:
        for member in tar:
            tar.members.clear()  # it would keep every header
            if not member.isfile():
                continue
            if member.offset_data + member.size > end:
                raise tarfile.TarError(f'{member.name} is cut short')
            yield member.name, member.offset_data, member.size


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + '.part')
    with open(unfinished, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
