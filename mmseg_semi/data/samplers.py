"""Sampler of endless batches with a fixed share of every source; it can start at any position."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader, Sampler

from mmseg_semi.data.randomness import derive_seed, seeded_permutation
from mmseg_semi.errors import SetupError

# First part of every derived seed, so that orders and augmentations never share a stream.
_ORDER, _AUGMENTATION = 1, 2


class SampleKey(NamedTuple):
    """Index of an image and seed of its augmentation, from the sampler to :class:`.SemiDataset`.

    Args:
        index: Index in the concatenated data set.
        seed: Seed of the augmentation, in [0, 2**63).
    """

    index: int
    seed: int


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(Sampler):
    """Sampler that fills each batch with fixed counts of every source, labelled images first.

    It has the role and the arguments of the sampler of this name in MMDetection, with four
    differences:

    - Every source is an endless chain of shuffled passes, so labelled images repeat independently
      of the unlabelled order.
    - It can start at any position without drawing what lies before (:meth:`skip`).
    - Each index carries the seed of its augmentation.
    - It refuses a ratio that does not divide the batch, instead of rounding.

    With ``W`` ranks and ``b`` images of a source in each rank's batch, slot ``j`` of rank ``r`` at
    step ``i`` is element ``i * W * b + r * b + j`` of the source's stream: the ranks together read
    what one process with a ``W`` times larger batch would read.

    Args:
        dataset: A :class:`.SemiDataset`, whose sources are the labelled and the unlabelled images,
            or any ``ConcatDataset``, whose sources are its data sets.
        batch_size: Images in a batch of one rank; the same number as the data loader's.
        source_ratio: Share of each source, e.g. ``[1, 1]`` (labelled, unlabelled).
        shuffle: True: each pass over a source is shuffled completely. False: images come in order.
            'shards': the shards of a source (:class:`.ShardedImages`) come in a shuffled order,
            ``shards_at_once`` of them at a time, and the images of these are shuffled together; a
            source without shards is shuffled completely. Reads then stay within a few files, which
            is faster on disks and networks, but images of distant shards are never in one batch.
            Defaults to True.
        shards_at_once: Shards whose images are mixed with ``shuffle='shards'``. Defaults to 8.
        seed: Seed of order and augmentation, 0 or more, equal on all ranks. None draws one that
            the ranks share. It may change until iteration begins. Defaults to None.

    Raises:
        SetupError: If the ratio has another length than there are sources, gives a source no
            image, or does not divide the batch; if a source is empty; if an argument is out of
            range.
    """

    def __init__(
        self,
        dataset,
        batch_size: int,
        source_ratio: Sequence[float],
        shuffle: bool | str = True,
        seed: int | None = None,
        shards_at_once: int = 8,
    ) -> None:
        if shuffle not in (True, False, 'shards') or shards_at_once < 1:
            raise SetupError(
                f'train_dataloader.sampler: shuffle={shuffle!r}, shards_at_once={shards_at_once}; '
                "expected True, False or 'shards', and 1 or more"
            )
        self.source_sizes = _source_sizes(dataset)
        self.source_shards = getattr(dataset, 'source_shards', [None] * len(self.source_sizes))
        self.num_per_source = _counts(batch_size, source_ratio, len(self.source_sizes))
        for source, size in enumerate(self.source_sizes):
            if size == 0:
                raise SetupError(
                    f'train_dataloader.dataset: source {source} (0 is labelled) has no image, '
                    f'but source_ratio={list(source_ratio)} asks for '
                    f'{self.num_per_source[source]} of its images a batch; check its list or folder'
                )
        if seed is None:
            seed = sync_random_seed()
        if seed < 0:
            raise SetupError(f'randomness.seed={seed} is negative; set an integer of 0 or more')
        self.dataset = dataset
        self.batch_size = batch_size
        self.source_ratio = tuple(source_ratio)
        self.shuffle = shuffle
        self.shards_at_once = shards_at_once
        self.seed = seed
        self.rank, self.world_size = get_dist_info()
        self._offsets = [0, *itertools.accumulate(self.source_sizes)][:-1]
        # slot of the batch -> (source, slot among the source's slots)
        self._slots = [(s, j) for s, count in enumerate(self.num_per_source) for j in range(count)]
        self._start = 0

    def __iter__(self) -> Iterator[SampleKey]:
        """Yield keys without end, from the position of :meth:`skip` on (else from 0)."""
        streams = [self._stream(source) for source in range(len(self.source_sizes))]
        for number in itertools.count(self._start):
            step, slot = divmod(number, self.batch_size)
            source, j = self._slots[slot]
            count = self.num_per_source[source]
            position = (step * self.world_size + self.rank) * count + j
            yield SampleKey(
                self._offsets[source] + streams[source][position],
                derive_seed(_AUGMENTATION, self.seed, source, position),
            )

    def _stream(self, source: int) -> _Stream:
        shards = self.source_shards[source]
        if self.shuffle == 'shards' and shards is not None:
            return _ShardStream(source, shards, self.seed, self.shards_at_once)
        return _Stream(source, self.source_sizes[source], self.seed, bool(self.shuffle))

    def skip(self, num_samples: int) -> None:
        """Start the next iteration at another position of the stream; nothing is loaded.

        Args:
            num_samples: Samples of this rank before that position, counted from the beginning of
                the run (not from the current position): iterations x batch size.

        Raises:
            ValueError: If the number is negative.
        """
        if num_samples < 0:
            raise ValueError(f'num_samples must be 0 or more, but got {num_samples}')
        self._start = num_samples

    def check_loader(self, loader: DataLoader) -> None:
        """Refuse a data loader with another batch size than this sampler's.

        Args:
            loader: The training data loader.

        Raises:
            SetupError: If the batch sizes differ.
        """
        found = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
        if found != self.batch_size:
            raise SetupError(
                f'train_dataloader.batch_size={found} differs from '
                f'train_dataloader.sampler.batch_size={self.batch_size}; set both to the same '
                'number'
            )

    def __len__(self) -> int:
        """Number of images in the data set (an iteration itself never ends)."""
        return sum(self.source_sizes)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the stream has no epochs. MMEngine calls this for every sampler."""


class _Stream:
    """Endless chain of shuffled passes over one source; ``stream[p]`` is the image at position p.

    Args:
        source: Number of the source.
        size: Images of the source.
        seed: Seed of the run.
        shuffle: Whether to shuffle each pass.
    """

    def __init__(self, source: int, size: int, seed: int, shuffle: bool) -> None:
        self.source, self.size, self.seed, self.shuffle = source, size, seed, shuffle
        self._pass = -1
        self._order: np.ndarray | None = None

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self.size)
        if not self.shuffle:
            return place
        if number != self._pass:
            self._pass = number
            self._order = seeded_permutation(self.size, _ORDER, self.seed, self.source, number)
        return int(self._order[place])


class _ShardStream:
    """The same for a source of shards: a few shards at a time, in a shuffled order.

    Args:
        source: Number of the source.
        sizes: Images of each shard.
        seed: Seed of the run.
        at_once: Number of shards whose images are shuffled together.
    """

    def __init__(self, source: int, sizes: np.ndarray, seed: int, at_once: int) -> None:
        self.source, self.seed, self.at_once = source, seed, at_once
        self.sizes = np.asarray(sizes)
        self.firsts = np.cumsum(self.sizes) - self.sizes  # first image of each shard
        self.size = int(self.sizes.sum())
        self._pass = -1
        self._group: tuple[int, int] = (-1, -1)

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self.size)
        if number != self._pass:
            self._pass = number
            self._shards = seeded_permutation(
                len(self.sizes), _ORDER, self.seed, self.source, number
            )
            counts = np.add.reduceat(
                self.sizes[self._shards], range(0, len(self.sizes), self.at_once)
            )
            self._group_ends = np.cumsum(counts)
        group = int(np.searchsorted(self._group_ends, place, side='right'))
        if (number, group) != self._group:
            self._group = number, group
            shards = self._shards[group * self.at_once : (group + 1) * self.at_once]
            images = np.concatenate(
                [np.arange(self.sizes[s]) + self.firsts[s] for s in shards.tolist()]
            )
            order = seeded_permutation(
                len(images), _ORDER, self.seed, self.source, number, 1 + group
            )
            self._images = images[order]
        first = int(self._group_ends[group]) - len(self._images)
        return int(self._images[place - first])


def _source_sizes(dataset) -> list[int]:
    """Number of images of each source, in the order of their indices."""
    sizes = getattr(dataset, 'source_sizes', None)
    if sizes is None and hasattr(dataset, 'datasets'):
        sizes = [len(d) for d in dataset.datasets]
    if sizes is None:
        raise SetupError(
            'train_dataloader.sampler: MultiSourceSampler needs a data set made of sources, but '
            f'train_dataloader.dataset is a {type(dataset).__name__}; wrap it in SemiDataset'
        )
    return list(sizes)


def _counts(batch_size: int, source_ratio: Sequence[float], num_sources: int) -> list[int]:
    """Number of images of each source in a batch.

    Example:
        >>> _counts(6, [1, 2], 2)
        [2, 4]
    """
    key = 'train_dataloader.sampler'
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise SetupError(
            f'{key}.batch_size={batch_size!r} is not an integer of 1 or more; set it to the images of a batch'
        )
    ratio = list(source_ratio) if isinstance(source_ratio, Sequence) else [source_ratio]
    if len(ratio) != num_sources:
        names = '[1] for labelled images alone, [1, 1] for labelled and unlabelled'
        raise SetupError(
            f'{key}.source_ratio={ratio} has {len(ratio)} entries, but train_dataloader.dataset '
            f'has {num_sources} source(s); give one share for each ({names})'
        )
    if any(not isinstance(r, (int, float)) or not math.isfinite(r) or r <= 0 for r in ratio):
        raise SetupError(
            f'{key}.source_ratio={ratio} gives a source no image in any batch; every share must be '
            'positive (for training without unlabelled images set dataset.unlabeled=None and '
            'source_ratio=[1])'
        )
    shares = [batch_size * r / sum(ratio) for r in ratio]
    counts = [round(share) for share in shares]
    if min(counts) < 1 or any(abs(c - s) > 1e-6 for c, s in zip(counts, shares, strict=True)):
        found = ' : '.join(f'{share:g}' for share in shares)
        raise SetupError(
            f'{key}: batch_size={batch_size} cannot be shared out by source_ratio={ratio} '
            f'({found} images); choose a batch size that gives every source a whole number'
        )
    return counts
