"""Memory of recent features for every class, and the density of features within their class.

The memory banks of DGCL: X. Wang et al., "Hunting Sparsity: Density-Guided Contrastive Learning for
Semi-Supervised Semantic Segmentation", CVPR 2023, doi 10.1109/CVPR52729.2023.00304; behaviour
checked against https://github.com/Gavinwxy/DGCL (1f3ea3f). A class's rows are replaced first in,
first out.

Departs from the authors' code in: banks are ring buffers of a fixed size, where the code
concatenates lists in every step; features are stored at unit length, because only directions are
used; a row without a density ranks below all others, where its density is 0 in the code.

Nothing here reads a number from a GPU. How many rows a class has is known to the device alone, so
classes travel as tables of fixed width, (K, n), with counts (K,), of which the first entries of
each row count.

Shapes: K classes, M rows of a class's bank, C channels of features, D of projections.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl.knn import CHUNK, SCALES, knn_density

UNKNOWN_DENSITY = -1.0
"""Density of rows that arrived while their bank held too few others. It is below any density, so
these rows are never the densest."""


def count_blocks(ends: Tensor, bound: int) -> int:
    """Return the number of blocks to compute.

    Args:
        ends: (N,) int64, cumulated numbers of blocks; the last entry is the true number.
        bound: Largest possible number.

    Returns:
        The true number on a CPU, ``bound`` on a device that would have to wait for a read.
    """
    return int(ends[-1]) if ends.device.type == 'cpu' else bound


class ClassBank(nn.Module):
    """Keep the newest features of every class, with their projections and densities.

    Args:
        num_classes: Number of classes K.
        size: Number of rows M of a class's bank (10,000).
        channels: Channels C of the features, on which densities are computed (256).
        embedding_channels: Channels D of the projections that are stored beside them (256).
        scales: Neighbourhood sizes of the density (8, 16, 32).
        density_after: New rows get a density if their class's bank already holds more rows than
            this (1,000), else :data:`UNKNOWN_DENSITY`. Densities are not computed again.
        dtype: 'float32', or 'bfloat16' for half the memory. Sums and densities are float32 in both
            cases.

    State:
        features: (K, M, C), L2-normalised.
        embeddings: (K, M, D), the projections at their original length.
        densities: (K, M) float32.
        counts: (K,) int64, number of filled rows, at the front.
        heads: (K,) int64, position of the next row.

    Raises:
        SetupError: If a size does not fit the others, or if the dtype is unknown.

    Example:
        >>> bank = ClassBank(3, 100, channels=8, embedding_channels=4, density_after=32)
        >>> for _ in range(2):
        ...     bank.push(torch.rand(3, 40, 8), torch.rand(3, 40, 4), torch.tensor([40, 20, 0]))
        >>> embeddings, known = bank.densest(5)
        >>> bank.counts.tolist(), embeddings.shape, known.all(dim=1).tolist()
        ([80, 40, 0], torch.Size([3, 5, 4]), [True, False, False])
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
                f'bank: scales={scales}, size={size}; expected neighbourhood sizes from 1 to size'
            )
        if not max(scales) <= density_after < size:
            raise SetupError(
                f'bank: density_after={density_after}, size={size}, scales={scales}; expected '
                'density_after to be at least the largest scale and below the size, because '
                'otherwise no row gets a density'
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
        """(K,) bool, True for classes whose bank holds ``size`` rows."""
        return self.counts == self.size

    def densest(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the stored projections of the highest densities.

        Args:
            count: Number of rows of a class (50).

        Returns:
            embeddings: (K, min(count, M), D) float32.
            known: (K, min(count, M)) bool, False for rows without a density, which stand in where a
                class has too few rows with one.
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
        """Compute the density of features within their own class.

        The features are processed in blocks, each of one class. A CPU computes the blocks that
        exist. A GPU computes the largest possible number of blocks, because it would have to wait
        for the true number.

        Args:
            rows: Function that returns the (n, C) features at (n,) positions.
            table: (N, Q) int64 positions, one row per class.
            counts: (N,) int64, number of a class's positions that count, from the front.
            total: Upper bound of the sum of all counts; None means N Q.
            classes: (N,) int64, the class of each row of the table; None means all classes in
                order.
            chunk: Number of features of a block.

        Returns:
            (N, Q) float32; 0 at positions that do not count.

        Example:
            >>> bank = ClassBank(2, 100, channels=8, embedding_channels=4, density_after=32)
            >>> bank.push(torch.rand(2, 60, 8), torch.rand(2, 60, 4), torch.tensor([60, 60]))
            >>> features, table = torch.rand(50, 8), torch.randint(0, 50, (2, 20))
            >>> bank.density(lambda index: features[index], table, torch.tensor([20, 5])).shape
            torch.Size([2, 20])
        """
        number, width = table.shape
        chunk = min(chunk, width)
        slots = -(-width // chunk)
        blocks = (counts + chunk - 1) // chunk
        ends = blocks.cumsum(0)
        total = number * width if total is None else total
        limit = count_blocks(ends, min(number * slots, total // chunk + number))
        # the last row takes the results of blocks that do not exist
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
        """Replace the oldest rows by new ones.

        Args:
            features: (K, R, C) with R <= M, of any length; stored L2-normalised.
            embeddings: (K, R, D), stored unchanged.
            counts: (K,) int64 in [0, R], number of a class's new rows that count, from the front.
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
            # every place occurs once in a class; a row that does not count writes back the old one
            shape = (-1, -1) + buffer.shape[2:]
            index = places.view(places.shape + (1,) * (buffer.ndim - 2)).expand(shape)
            kept = inside.view(inside.shape + (1,) * (buffer.ndim - 2))
            buffer.scatter_(1, index, new.to(buffer.dtype).where(kept, buffer.gather(1, index)))
        self.heads.copy_((self.heads + counts) % self.size)
        self.counts.copy_((self.counts + counts).clamp(max=self.size))
