"""Density of features by their nearest neighbours, at several neighbourhood sizes.

The multi-scale density of DGCL: X. Wang et al., "Hunting Sparsity: Density-Guided Contrastive
Learning for Semi-Supervised Semantic Segmentation", CVPR 2023, doi 10.1109/CVPR52729.2023.00304;
behaviour checked against https://github.com/Gavinwxy/DGCL (1f3ea3f). With s_1 >= s_2 >= ... the
cosine similarities of a feature to the rows of a bank::

    d_k = (s_1 + ... + s_k) / k        d = (d_8 + d_16 + d_32) / 3

The authors' code ranks every similarity matrix three times. Here d is one weighted sum over the 32
nearest neighbours.

Shapes: N features, M rows of the bank, C channels, W = max(scales) neighbours.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.host_reads import can_read
from mmseg_semi.precision import full_precision

SCALES = (8, 16, 32)
"""Neighbourhood sizes of the published method."""

CHUNK = 512
"""Number of features whose similarities are alive at one time: 20 MB against 10,000 rows."""

COLUMNS = 2000
"""Rows of a bank in one product on a CPU: 2 MB of 256 channels stay in its caches."""


def neighbor_weights(scales: Sequence[int] = SCALES) -> Tensor:
    """Compute the weight of the nearest, the second nearest, ... neighbour in the density.

    Args:
        scales: Neighbourhood sizes, over which the density is averaged (8, 16, 32).

    Returns:
        (W,) float32, non-increasing, with sum 1. For 8, 16, 32 the weights are 0.0729 (ranks 1 to
        8), 0.03125 (9 to 16) and 0.0104 (17 to 32).

    Example:
        >>> neighbor_weights((1, 2))
        tensor([0.7500, 0.2500])
    """
    ranks = torch.arange(max(scales))
    return sum((ranks < k) / (k * len(scales)) for k in scales)


def largest(values: Tensor, count: int) -> Tensor:
    """Return the largest values of each row in descending order.

    Args:
        values: (N, M) float32 with M >= count. On a CPU the order within its rows changes.
        count: Number of values of a row.

    Returns:
        (N, count) float32.

    Example:
        >>> largest(torch.tensor([[0.3, 0.1, 0.9, 0.5]]), 2)
        tensor([[0.9000, 0.5000]])
    """
    if not can_read(values):
        return values.topk(count, dim=1).values
    # numpy partitions with vector instructions: half the time of topk for 32 of 10,000
    first = values.shape[1] - count
    if first:
        values.numpy().partition(first, axis=1)
    return values[:, first:].sort(dim=1, descending=True).values


def knn_density(
    queries: Tensor,
    bank: Tensor,
    scales: Sequence[int] = SCALES,
    filled: Tensor | None = None,
    chunk: int = CHUNK,
    buffer: Tensor | None = None,
) -> Tensor:
    """Compute the density of features with respect to a bank.

    Args:
        queries: (N, C) features of any floating dtype and any length.
        bank: (M, C), L2-normalised rows.
        scales: Neighbourhood sizes (8, 16, 32).
        filled: (1,) int64, number of rows of the bank that count, from the front; the rows after
            them are zero. None counts all rows. If fewer than W rows count, the missing neighbours
            enter with the lowest cosine, -1.
        chunk: Number of queries at one time; bounds memory and changes nothing else.
        buffer: Contiguous float32 memory of at least min(chunk, N) M numbers for similarities, that
            many calls can share. On a CPU new memory costs a third of the product.

    Returns:
        (N,) float32 in [-1, 1], without a graph; in [0, 1] if queries and bank are non-negative.

    Example:
        >>> queries, bank = torch.rand(5, 8), F.normalize(torch.rand(100, 8), dim=1)
        >>> density = knn_density(queries, bank)
        >>> density.shape, ((density > 0) & (density < 1)).all().item()
        (torch.Size([5]), True)
    """
    with torch.no_grad(), full_precision(queries):
        missing = None
        if filled is not None and can_read(filled):
            bank = bank[: int(filled)]
        elif filled is not None:
            ranks = torch.arange(len(bank), device=bank.device)
            missing = torch.zeros(len(bank), device=bank.device).masked_fill(ranks >= filled, -1)
        rows = bank.float()
        weights = neighbor_weights(scales).to(rows.device)  # W
        near = min(len(weights), len(rows))
        if buffer is None:
            buffer = rows.new_empty(min(chunk, len(queries)), len(rows))
        parts = []
        for part in queries.split(chunk):
            directions = F.normalize(part.float(), dim=1)
            # n x M for the n queries of this chunk
            similarity = buffer.view(-1)[: len(part) * len(rows)].view(len(part), len(rows))
            similarities(directions, rows, missing, similarity)
            density = largest(similarity, near) @ weights[:near]
            parts.append(density - weights[near:].sum() if near < len(weights) else density)
        return torch.cat(parts) if parts else rows.new_empty(0)


def similarities(queries: Tensor, rows: Tensor, missing: Tensor | None, out: Tensor) -> None:
    """Compute the inner products of queries and rows.

    Args:
        queries: (N, C) float32.
        rows: (M, C) float32.
        missing: (M,) float32 to add to the products with a row, or None.
        out: (N, M) float32, filled with the products.
    """
    if missing is not None:
        torch.addmm(missing, queries, rows.T, out=out)
    elif can_read(queries) and len(queries) <= CHUNK:
        for first in range(0, len(rows), COLUMNS):
            part = rows[first : first + COLUMNS]
            torch.mm(queries, part.T, out=out[:, first : first + COLUMNS])
    else:
        torch.mm(queries, rows.T, out=out)
