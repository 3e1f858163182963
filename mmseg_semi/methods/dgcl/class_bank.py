"""A memory of recent features for every class, and the density of features within their class.

The memory of DGCL (CVPR 2023; code https://github.com/Gavinwxy/DGCL), as ring buffers of a fixed size instead of lists that
are joined anew in every step. Rows of a class are replaced first in, first out.

Nothing here reads a number from a GPU: how many rows a class has is known to the device alone, so classes travel as tables
of one width, (K, n), with their counts, (K,), of which the first entries of each row of the table count.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl.knn import CHUNK, SCALES, knn_density

UNKNOWN_DENSITY = -1.0
"""Density of rows that came while their bank held too few others: below any other, so they are never the densest."""


class ClassOrder(NamedTuple):
    """Pixels sorted by class, in random order within a class."""

    order: Tensor
    """(P,) int64 pixel positions, class 0 first, pixels of no class last."""
    keys: Tensor
    """(P,) float64, the pixels' random numbers in [0, 1): rising within a class."""
    starts: Tensor
    """(K,) int64, where a class begins in ``order``."""
    counts: Tensor
    """(K,) int64, pixels of a class."""

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """A uniform sample without replacement of at most ``count`` pixels of each class.

        Returns:
            places: (K, min(count, P)) int64 places in ``order``; those beyond a class's own pixels are any.
            counts: (K,) int64, how many there are.
        """
        width = min(count, len(self.order))
        places = self.starts[:, None] + torch.arange(width, device=self.order.device)
        return places.clamp(max=len(self.order) - 1), self.counts.clamp(max=width)


def order_by_class(labels: Tensor, num_classes: int) -> ClassOrder:
    """Sort pixels by class and shuffle them within it.

    Args:
        labels: Integers of any shape; values outside of [0, num_classes) are no class.
        num_classes: K.
    """
    labels = labels.flatten().long()
    labels = labels.where((labels >= 0) & (labels < num_classes), num_classes)
    keys = torch.rand(labels.shape, device=labels.device, dtype=torch.float64)
    shuffled = keys.argsort()
    order = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.zeros(num_classes + 1, device=labels.device, dtype=torch.int64)
    counts.scatter_add_(0, labels, torch.ones_like(labels))
    return ClassOrder(order, keys[order], (counts.cumsum(0) - counts)[:-1], counts[:-1])


def count_blocks(ends: Tensor, bound: int) -> int:
    """How many blocks to compute: those there are on a CPU, the most there can be on a device that would have to wait."""
    return int(ends[-1]) if ends.device.type == 'cpu' else bound


class ClassBank(nn.Module):
    """The newest features of every class, with the densities they came with.

    Args:
        num_classes: K.
        size: Rows of a class M (10,000).
        channels: Channels C of the features that densities are computed on.
        embedding_channels: Channels D of the projections that are kept beside them.
        scales: Neighbourhood sizes of the density.
        density_after: New rows get a density if their class's bank holds more rows than this before them (1,000), else
            :data:`UNKNOWN_DENSITY`. Densities are not computed again.
        dtype: 'float32', or 'bfloat16' for half the memory; sums and densities are float32 with either.

    State:
        features: (K, M, C), unit length: only directions are used.
        embeddings: (K, M, D), of the length they came with.
        densities: (K, M) float32.
        counts: (K,) int64, rows that are filled, at the front.
        heads: (K,) int64, where the next row goes.

    Raises:
        SetupError: A size that does not fit the others.
    """

    def __init__(
        self,
        num_classes: int,
        size: int,
        channels: int,
        embedding_channels: int,
        scales: Sequence[int] = SCALES,
        density_after: int = 1000,
        dtype: str = 'float32',
    ) -> None:
        super().__init__()
        scales = tuple(scales)
        if not scales or min(scales) < 1 or max(scales) > size:
            raise SetupError(
                f'bank: scales={scales}, size={size}; expected neighbourhood sizes from 1 to the size'
            )
        if not max(scales) <= density_after < size:
            raise SetupError(
                f'bank: density_after={density_after}, size={size}, scales={scales}; expected density_after from the '
                'largest scale to below the size, or no row would ever get a density'
            )
        if dtype not in ('float32', 'bfloat16'):
            raise SetupError(f"bank: dtype='{dtype}': expected 'float32' or 'bfloat16'")
        kind = getattr(torch, dtype)
        self.size, self.scales, self.density_after = size, scales, density_after
        self.register_buffer('features', torch.zeros(num_classes, size, channels, dtype=kind))
        self.register_buffer(
            'embeddings', torch.zeros(num_classes, size, embedding_channels, dtype=kind)
        )
        self.register_buffer('densities', torch.full((num_classes, size), UNKNOWN_DENSITY))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer('heads', torch.zeros(num_classes, dtype=torch.int64))

    @property
    def full(self) -> Tensor:
        """(K,) bool, classes whose bank holds ``size`` rows."""
        return self.counts == self.size

    def densest(self, count: int) -> tuple[Tensor, Tensor]:
        """The embeddings that came with the highest densities.

        Returns:
            embeddings: (K, min(count, size), D) float32.
            known: (K, min(count, size)) bool, False for rows without a density, where a class has too few with one.
        """
        densities, best = self.densities.topk(min(count, self.size), dim=1)
        index = best[..., None].expand(-1, -1, self.embeddings.shape[2])
        return self.embeddings.gather(1, index).float(), densities > UNKNOWN_DENSITY

    @torch.no_grad()
    def density(
        self,
        rows: Callable[[Tensor], Tensor],
        table: Tensor,
        counts: Tensor,
        total: int | None = None,
        classes: Tensor | None = None,
        chunk: int = CHUNK,
    ) -> Tensor:
        """Density of features within their own class.

        The features are taken in blocks of one class each. A CPU computes the blocks that there are; a GPU, which is not
        asked how many that is, as many as there can be.

        Args:
            rows: Gives the (n, C) features at (n,) positions.
            table: (N, Q) int64 positions, a row a class.
            counts: (N,) int64, how many of a class's positions count, from the front.
            total: The most that all counts can sum to; default N Q.
            classes: (N,) int64, the classes of the rows; default all, in their order.
            chunk: Features of a block.

        Returns:
            (N, Q) float32; 0 where nothing counts.
        """
        number, width = table.shape
        chunk = min(chunk, width)
        slots = -(-width // chunk)
        blocks = (counts + chunk - 1) // chunk
        ends = blocks.cumsum(0)
        total = number * width if total is None else total
        limit = count_blocks(ends, min(number * slots, total // chunk + number))
        # blocks that do not exist land in a row of their own, the last
        result = torch.zeros(number * slots + 1, chunk, device=table.device)
        buffer = torch.empty(chunk, self.size, device=table.device)
        padded = F.pad(table, (0, slots * chunk - width)).view(number * slots, chunk)
        for index in range(limit):
            at = torch.full((1,), index, device=table.device)
            row = torch.searchsorted(ends, at, right=True)
            exists = row < number
            row = row.clamp(max=number - 1)
            slot = (row * slots + at - (ends - blocks)[row]).clamp(max=number * slots - 1)
            own = row if classes is None else classes[row]
            values = knn_density(
                rows(padded.index_select(0, slot)[0]),
                self.features.index_select(0, own)[0],
                self.scales,
                self.counts[own],
                buffer=buffer,
            )
            result.index_copy_(0, slot.where(exists, number * slots), values[None])
        result = result[:-1].view(number, slots * chunk)[:, :width]
        inside = torch.arange(width, device=table.device) < counts[:, None]
        return result.where(inside, 0.0)

    @torch.no_grad()
    def push(self, features: Tensor, embeddings: Tensor, counts: Tensor) -> None:
        """Put new rows in the place of the oldest ones.

        Args:
            features: (K, R, C) with R <= size; only their directions are kept.
            embeddings: (K, R, D).
            counts: (K,) int64 in [0, R], how many rows of a class count, from the front.
        """
        classes, width = features.shape[:2]
        features = F.normalize(features.float(), dim=2).to(self.features.dtype)
        flat = features.flatten(0, 1)
        table = torch.arange(classes * width, device=flat.device).view(classes, width)
        known = self.counts > self.density_after
        densities = self.density(lambda index: flat[index], table, counts * known)
        densities = densities.where(known[:, None], UNKNOWN_DENSITY)

        steps = torch.arange(width, device=flat.device)
        inside = steps < counts[:, None]
        places = (self.heads[:, None] + steps) % self.size
        for buffer, new in (
            (self.features, features),
            (self.embeddings, embeddings),
            (self.densities, densities),
        ):
            # every place occurs once in a class; what does not count writes back what is there
            shape = (-1, -1) + buffer.shape[2:]
            index = places.view(places.shape + (1,) * (buffer.ndim - 2)).expand(shape)
            kept = inside.view(inside.shape + (1,) * (buffer.ndim - 2))
            buffer.scatter_(1, index, new.to(buffer.dtype).where(kept, buffer.gather(1, index)))
        self.heads.copy_((self.heads + counts) % self.size)
        self.counts.copy_((self.counts + counts).clamp(max=self.size))
