"""Large pools of unlabelled images: a list of millions of files, or tar shards on any storage.

Shards are plain tar files, as the ``webdataset`` library writes and reads them. Beside each stands
an index with one line per image (``offset size name``). This module reads shards by offset and not
through that library: a stream of the library does not know its position (the content of a shuffle
buffer is lost when a run ends), so a resumed run could not continue with the next image. An image
with a number, however, fits the sampler's exact resume, for any number of ranks and workers.
Python's ``tarfile`` writes the format, and ``fsspec`` reads shards that are on no local disk.
"""

from __future__ import annotations

import glob
import os
import os.path as osp
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate

import fsspec
import numpy as np
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.dataset.base_dataset import Compose
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_semi.data.names import (
    ListedPaths,
    NameList,
    contains,
    hash_names,
    hash_paths,
    read_bytes,
)
from mmseg_semi.errors import SetupError

_OPEN_INDEXES = 32


# ------------------------------------------------------------------------------- a list or a folder


class ImageList(BaseSegDataset):
    """Unlabelled images of a list file or a folder, without a Python object for each image.

    :class:`.SemiDataset` replaces an unlabelled data set by it if that reads its list as
    :class:`mmseg.datasets.BaseSegDataset` does. Images and order are the same.

    Writes for the pipeline: ``img_path``, ``label_map``, ``reduce_zero_label``, ``seg_fields``
    (empty), ``sample_idx``.
    """

    @classmethod
    def of(cls, dataset: BaseDataset) -> BaseDataset:
        """Replace a data set that is not read yet.

        Returns:
            BaseDataset: An :class:`ImageList`; or the data set itself, if it does more than read a
            list or a folder.
        """
        plain = isinstance(dataset, BaseSegDataset) and all(
            getattr(type(dataset), name) is getattr(BaseSegDataset, name)
            for name in ('load_data_list', 'filter_data', 'full_init', 'get_data_info', '__len__')
        )
        if not plain or dataset.backend_args or dataset._indices is not None:
            return dataset
        pool = cls.__new__(cls)
        pool.__dict__.update(dataset.__dict__)
        return pool

    def full_init(self) -> None:
        """Open the list, or list the folder."""
        if self._fully_initialized:
            return
        folder = self.data_prefix.get('img_path') or ''
        if self.ann_file and osp.isfile(self.ann_file):
            self.paths = ListedPaths(NameList(self.ann_file), folder, self.img_suffix)
        else:
            found = fileio.list_dir_or_file(folder, False, suffix=self.img_suffix, recursive=True)
            names = '\n'.join(sorted(found)).encode()
            self.paths = ListedPaths(NameList(names), folder, '')
        self._fully_initialized = True

    def __len__(self) -> int:
        self.full_init()
        return len(self.paths)

    def get_data_info(self, idx: int) -> dict:
        """Entry of an image."""
        return dict(
            img_path=self.paths[idx],
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
            sample_idx=idx,
        )


# ------------------------------------------------------------------------------------------- shards


def shard_index(shard: str) -> str:
    """Path of a shard's index: beside the shard, with .txt instead of .tar.

    Example:
        >>> shard_index('/pool/shard-000001.tar')
        '/pool/shard-000001.txt'
    """
    return shard.removesuffix('.tar') + '.txt'


def find_shards(shards: str | Sequence[str], key: str = 'shards') -> list[str]:
    """Find the tar files of folders, patterns and names, in order.

    Args:
        shards: One or several of: a folder, a pattern such as '/disk2/pool-*.tar', a tar file; each
            a local path or an address that fsspec knows ('s3://...').
        key: Place in the config; errors name it.

    Returns:
        list[str]: Absolute paths or addresses.

    Raises:
        SetupError: If one of them is no text, gives no tar file, or a shard occurs twice.
    """
    found: list[str] = []
    if not isinstance(shards, str | Sequence) or not all(isinstance(s, str) for s in shards):
        raise SetupError(
            f'{key} is {shards!r}, expected a folder, a tar file or a pattern, or a list of them; fix the key'
        )
    for name in [shards] if isinstance(shards, str) else shards:
        pattern = name if name.endswith('.tar') else osp.join(name, '*.tar')
        if '://' not in pattern:
            tars = sorted(map(osp.abspath, glob.glob(pattern)))
        elif '*' in pattern:
            system, place = fsspec.core.url_to_fs(pattern)
            tars = sorted(system.unstrip_protocol(path) for path in system.glob(place))
        else:
            tars = [pattern]
        if not tars:
            raise SetupError(
                f'{key}: {name} gives no tar file; write shards (mmseg-semi shards make '
                '--images FOLDER --out FOLDER), or fix the path'
            )
        found += tars
    twice = (
        [shard for shard in found if found.count(shard) > 1] if len(set(found)) < len(found) else []
    )
    if twice:
        raise SetupError(f'{key} names the shard {twice[0]} twice; name each once')
    return found


@DATASETS.register_module()
class ShardedImages(BaseDataset):
    """Unlabelled images in tar shards, local or remote, each with its index beside it.

    ``mmseg-semi shards make`` packs images, ``... index`` indexes shards from elsewhere.
    Access to any image costs one read. To read from few shards at a time, set ``shuffle='shards'``
    in :class:`.MultiSourceSampler`.

    Writes for the pipeline: ``img_path`` ('shard.tar/name'), ``img_span`` (shard, start, stop),
    ``label_map`` (None), ``reduce_zero_label`` (False), ``seg_fields`` (empty), ``sample_idx``.

    Args:
        shards: See :func:`find_shards`; their order decides the order of training.
        pipeline: As of any unlabelled data set; begins with ``LoadImage``.
        metainfo: Usually None: the classes are those of the labelled images.
        lazy_init: Whether to read indexes later, in ``full_init``. Defaults to False.
        max_refetch: Without effect; :class:`.SemiDataset` sets it for every data set.
        data_prefix: Without effect.

    Raises:
        SetupError: If there is no shard, or a shard has no index.
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        pipeline: Sequence[dict],
        metainfo: dict | None = None,
        lazy_init: bool = False,
        max_refetch: int = 0,
        data_prefix: dict | None = None,
    ) -> None:
        self.shards = shards
        self.ann_file, self.data_root, self.data_prefix = '', '', {}
        self._metainfo = self._load_metainfo(metainfo)
        self._indices = None
        self.test_mode, self.max_refetch = False, max_refetch
        self.pipeline = Compose(pipeline)
        self.paths: ShardPaths | None = None
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Find the shards and count their images."""
        if not self._fully_initialized:
            self.paths = ShardPaths(find_shards(self.shards))
            self._fully_initialized = True

    @property
    def shard_sizes(self) -> np.ndarray:
        """Images of each shard, in order."""
        self.full_init()
        return self.paths.sizes

    def __len__(self) -> int:
        self.full_init()
        return len(self.paths)

    def get_data_info(self, idx: int) -> dict:
        """Entry of an image; :class:`.LoadImage` reads ``img_span``."""
        shard, offset, size, name = self.paths.entry(idx)
        return dict(
            img_path=f'{shard}/{name}',
            img_span=(shard, offset, offset + size),
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[],
            sample_idx=idx,
        )


class ShardPaths(Sequence[str]):
    """Content of the indexes of shards: 'shard.tar/name', offset and size of every image.

    At most 32 indexes are in memory at a time, however many shards there are.

    Args:
        shards: Tar files.

    Attributes:
        sizes: Images of each shard, (number of shards,) int.

    Raises:
        SetupError: If a shard has no index.
    """

    def __init__(self, shards: Sequence[str]) -> None:
        self.shards = list(shards)
        self._indexes: OrderedDict[int, NameList] = OrderedDict()
        self.sizes = np.array([len(self._index(i)) for i in range(len(self.shards))])
        self._ends = list(accumulate(self.sizes.tolist()))

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_indexes': OrderedDict()}

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> str:
        shard, _, _, name = self.entry(index)
        return f'{shard}/{name}'

    def entry(self, index: int) -> tuple[str, int, int, str]:
        """(shard, offset, size, name) of an image; offset and size in bytes."""
        if not 0 <= index < len(self):
            raise IndexError(f'image {index} of {len(self)}')
        number = bisect_right(self._ends, index)
        place = index - self._ends[number] + int(self.sizes[number])
        offset, size, name = self._parts(number, place, self._index(number).line(place))
        return self.shards[number], int(offset), int(size), name.decode()

    def _parts(self, number: int, place: int, line: bytes) -> list[bytes]:
        """Offset, size and name of a line of an index.

        Raises:
            SetupError: If the line is of another form.
        """
        parts = line.split(b' ', 2)
        if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit():
            return parts
        shown = line[:60].decode('utf-8', 'backslashreplace')
        shard = self.shards[number]
        raise SetupError(
            f'index {shard_index(shard)}, line {place + 1}: {shown!r} is no line of offset, size and name; write the index '
            f'again: mmseg-semi shards index {shard}'
        )

    def _index(self, number: int) -> NameList:
        if number in self._indexes:
            self._indexes.move_to_end(number)
        else:
            path = shard_index(self.shards[number])
            try:
                self._indexes[number] = NameList(read_bytes(path) if '://' in path else path)
                if not len(self._indexes[number]):
                    raise SetupError(
                        f'index {path} is empty, so that no image of its shard would be seen; write it again: mmseg-semi shards '
                        f'index {self.shards[number]}'
                    )
            except FileNotFoundError as error:
                raise SetupError(
                    f'shard {self.shards[number]} has no index {osp.basename(path)} beside it; '
                    f'write it: mmseg-semi shards index {osp.dirname(self.shards[number])}'
                ) from error
            if len(self._indexes) > _OPEN_INDEXES:
                self._indexes.popitem(last=False)
        return self._indexes[number]

    def _name_chunks(self, prefix: bool) -> Iterator[list[bytes]]:
        for number, shard in enumerate(self.shards):
            front = f'{shard}/'.encode() if prefix else b''
            count = 0
            for lines in self._index(number).chunks():
                yield [
                    front + self._parts(number, place, line)[2]
                    for place, line in enumerate(lines, count)
                ]
                count += len(lines)

    def hashes(self) -> np.ndarray:
        """Hash of every 'shard.tar/name'."""
        return hash_names(self._name_chunks(prefix=True), len(self))

    def missing(self) -> np.ndarray:
        """Indices of the images that a truncated shard does not contain completely."""
        wrong = []
        for number, shard in enumerate(self.shards):
            first = self._ends[number] - int(self.sizes[number])
            if self.sizes[number] == 0 or '://' in shard:
                continue
            _, offset, size, _ = self.entry(self._ends[number] - 1)
            if os.path.getsize(shard) < offset + size:
                wrong += [
                    i
                    for i in range(first, self._ends[number])
                    if sum(self.entry(i)[1:3]) > os.path.getsize(shard)
                ]
        return np.array(wrong, np.int64)

    def find(self, paths: Sequence[str]) -> list[int]:
        """Find images that equal one of these files: the end of its path, its size and its content.

        Args:
            paths: Local files.

        Returns:
            list[int]: Indices of these images.
        """
        tails: dict[int, list[str]] = {}
        for path in paths:
            parts = osp.abspath(path).split(os.sep)
            for start in range(1, len(parts)):
                tails.setdefault(hash('/'.join(parts[start:]).encode()), []).append(path)
        alike = contains(
            np.sort(np.fromiter(tails, np.int64, len(tails))),
            hash_names(self._name_chunks(prefix=False), len(self)),
        )
        found = []
        for index in np.flatnonzero(alike).tolist():
            shard, offset, size, name = self.entry(index)
            same_size = [
                path
                for path in tails[hash(name.encode())]
                if osp.isfile(path) and osp.getsize(path) == size
            ]
            if same_size:
                content = read_bytes(shard, offset, offset + size)
                if any(read_bytes(path) == content for path in same_size):
                    found.append(index)
        return found


def find_images(pool: Sequence[str], paths: Sequence[str]) -> list[int]:
    """Find the images of a pool that are among other paths.

    Args:
        pool: Paths of unlabelled images: :class:`ShardPaths`, :class:`.ListedPaths` or any
            sequence.
        paths: Local files.

    Returns:
        list[int]: Indices of these images in the pool.

    Example:
        >>> find_images(['images/a.png', 'images/b.png'], ['images/../images/b.png'])
        [1]
    """
    if isinstance(pool, ShardPaths):
        return pool.find(paths)
    known = np.sort(hash_paths(paths))
    exact = {osp.abspath(path) for path in paths}
    alike = np.flatnonzero(contains(known, hash_paths(pool))).tolist()
    return [index for index in alike if osp.abspath(pool[index]) in exact]
