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
each row count. A CPU reads the counts and computes these entries alone.

Shapes: K classes, M rows of a class's bank, C channels of features, D of projections.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.host_reads import can_read
from mmseg_semi.methods.dgcl.knn import CHUNK, SCALES, knn_density, neighbor_weights, similarities
from mmseg_semi.precision import full_precision

UNKNOWN_DENSITY = -1.0
"""Density of rows that arrived while their bank held too few others. It is below any density, so
these rows are never the densest."""


DEVICE_CHUNK = 1024
"""Largest number of features of one block on a device: 40 MB of similarities to 10,000 rows."""


def block_size(classes: int, width: int, total: int) -> int:
    """Choose the number of features of a block, where the host cannot read the counts of classes.

    Every class may leave its last block almost empty. Blocks of a quarter of the mean class bound
    these rows by a quarter of all, and the number of blocks by five per class. If the table itself
    is no larger than the bound, its rows are split evenly and nothing is added.

    Args:
        classes: Number of classes N.
        width: Largest number of features of a class Q > 0.
        total: Upper bound of the number of all features.

    Returns:
        The size B from 1 to :data:`DEVICE_CHUNK`. Classes need at most (total + N (B - 1)) // B
        blocks.

    Example:
        >>> block_size(classes=20, width=4356, total=4356), block_size(20, 10_000, 100_000)
        (54, 1024)
    """
    if total >= classes * width:
        return -(-width // -(-width // DEVICE_CHUNK))
    return max(1, min(DEVICE_CHUNK, width, total // (4 * classes)))


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

        A CPU computes the features that count. A GPU would have to wait for their number, so it
        computes ``total`` features and at most a quarter more, in blocks of one class each, see
        :func:`block_size`.

        Args:
            rows: Function that returns the (n, C) features at (n,) positions.
            table: (N, Q) int64 positions, one row per class.
            counts: (N,) int64, number of a class's positions that count, from the front.
            total: Upper bound of the sum of all counts; None means N Q. Only a GPU uses it.
            classes: (N,) int64, the class of each row of the table; None means all classes in
                order.
            chunk: Number of features at one time; bounds memory and changes nothing else.

        Returns:
            (N, Q) float32; 0 at positions that do not count.

        Example:
            >>> bank = ClassBank(2, 100, channels=8, embedding_channels=4, density_after=32)
            >>> bank.push(torch.rand(2, 60, 8), torch.rand(2, 60, 4), torch.tensor([60, 60]))
            >>> features, table = torch.rand(50, 8), torch.randint(0, 50, (2, 20))
            >>> bank.density(lambda index: features[index], table, torch.tensor([20, 5])).shape
            torch.Size([2, 20])
        """
        if not table.numel():
            return torch.zeros(table.shape, device=table.device)
        if can_read(counts):
            return self._density_of_existing(rows, table, counts, classes, chunk)
        total = table.numel() if total is None else min(total, table.numel())
        return self._density_in_blocks(rows, table, counts, total, classes)

    def _density_of_existing(
        self,
        rows: Callable[[Tensor], Tensor],
        table: Tensor,
        counts: Tensor,
        classes: Tensor | None,
        chunk: int,
    ) -> Tensor:
        """:meth:`density` where the host reads the counts: class by class, nothing else."""
        result = torch.zeros(table.shape)
        filled, numbers = self.counts.tolist(), counts.tolist()
        owners = range(len(filled)) if classes is None else classes.tolist()
        buffer = torch.empty(min(chunk, max(numbers)), self.size)
        for index, (own, number) in enumerate(zip(owners, numbers, strict=True)):
            if not number:
                continue
            # a bank in half precision is converted once per class
            stored = self.features[own, : filled[own]].float()
            for first in range(0, number, chunk):
                part = slice(first, min(first + chunk, number))
                queries = rows(table[index, part])
                result[index, part] = knn_density(
                    queries, stored, self.scales, chunk=chunk, buffer=buffer
                )
        return result

    def _density_in_blocks(
        self,
        rows: Callable[[Tensor], Tensor],
        table: Tensor,
        counts: Tensor,
        total: int,
        classes: Tensor | None,
    ) -> Tensor:
        """:meth:`density` where the host knows only a bound of the counts.

        Small blocks share one gather of features and one ranking, because on a GPU the number of
        operations costs more than their size.
        """
        number, width, device = *table.shape, table.device
        size = block_size(number, width, total)
        slots = -(-width // size)
        limit = min(number * slots, (total + number * (size - 1)) // size)
        blocks = (counts + size - 1) // size
        ends = blocks.cumsum(0)
        at = torch.arange(limit, device=device)
        owner = torch.searchsorted(ends, at, right=True)
        exists = owner < number
        owner = owner.clamp(max=number - 1)
        slot = (owner * slots + at - (ends - blocks)[owner]).clamp(max=number * slots - 1)
        padded = F.pad(table, (0, slots * size - width)).view(number * slots, size)
        index = padded.index_select(0, slot)  # limit x size positions
        # the last row takes the results of blocks that do not exist
        slot = slot.where(exists, number * slots)
        result = torch.zeros(number * slots + 1, size, device=device)
        owner = owner if classes is None else classes[owner]
        ranks = torch.arange(self.size, device=device)
        missing = -(ranks >= self.counts[:, None]).float()  # K x M, -1 for a row to ignore
        together = max(1, DEVICE_CHUNK // size)
        buffer = torch.empty(min(together, limit), size, self.size, device=device)
        with full_precision(table):
            weights = neighbor_weights(self.scales).to(device)
            for first in range(0, limit, together):
                group = slice(first, min(first + together, limit))
                queries = F.normalize(rows(index[group].flatten()).float(), dim=1)
                parts = buffer[: group.stop - first]
                for part, own, similarity in zip(
                    queries.split(size), owner[group].split(1), parts, strict=True
                ):
                    stored = self.features.index_select(0, own)[0].float()
                    ignored = missing.index_select(0, own)[0]
                    similarities(part, stored, ignored, similarity)
                values = parts.flatten(0, 1).topk(len(weights), dim=1).values @ weights
                result.index_copy_(0, slot[group], values.view(-1, size))
        result = result[:-1].view(number, slots * size)[:, :width]
        inside = torch.arange(width, device=device) < counts[:, None]
        return result.where(inside, 0.0)

    @torch.no_grad()
    def push(
        self, features: Tensor, embeddings: Tensor, counts: Tensor, total: int | None = None
    ) -> None:
        """Replace the oldest rows by new ones.

        Args:
            features: (K, R, C) with R <= M, of any length; stored L2-normalised.
            embeddings: (K, R, D), stored unchanged.
            counts: (K,) int64 in [0, R], number of a class's new rows that count, from the front.
                The rows after them are not used and may hold anything.
            total: Upper bound of the sum of all counts; None means K R. Only a GPU uses it.
        """
        classes, width = features.shape[:2]
        flat = features.flatten(0, 1)
        table = torch.arange(classes * width, device=flat.device).view(classes, width)

        def stored(rows: Tensor) -> Tensor:
            return F.normalize(rows.float(), dim=-1).to(self.features.dtype)

        known = self.counts > self.density_after
        densities = self.density(lambda index: stored(flat[index]), table, counts * known, total)
        densities = densities.where(known[:, None], UNKNOWN_DENSITY)

        steps = torch.arange(width, device=flat.device)
        inside = steps < counts[:, None]
        places = (self.heads[:, None] + steps) % self.size
        if can_read(counts):
            own, at = inside.nonzero(as_tuple=True)
            place = places[own, at]
            self.features[own, place] = stored(features[own, at])
            self.embeddings[own, place] = embeddings[own, at].to(self.embeddings.dtype)
            self.densities[own, place] = densities[own, at]
        else:
            self._write(self.features, places, inside, stored(features))
            self._write(self.embeddings, places, inside, embeddings)
            self._write(self.densities, places, inside, densities)
        self.heads.copy_((self.heads + counts) % self.size)
        self.counts.copy_((self.counts + counts).clamp(max=self.size))

    @staticmethod
    def _write(buffer: Tensor, places: Tensor, inside: Tensor, new: Tensor) -> None:
        """Write the rows that count to their places, without their number.

        Args:
            buffer: (K, M, ...), changed.
            places: (K, R) int64, each at most once in a class.
            inside: (K, R) bool, False for rows that do not count; they write back the old ones.
            new: (K, R, ...).
        """
        ones = (1,) * (buffer.ndim - 2)
        index = places.view(places.shape + ones).expand((-1, -1) + buffer.shape[2:])
        kept = inside.view(inside.shape + ones)
        buffer.scatter_(1, index, new.to(buffer.dtype).where(kept, buffer.gather(1, index)))
