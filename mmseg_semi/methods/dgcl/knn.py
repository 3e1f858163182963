"""Density of features by their nearest neighbours, at several neighbourhood sizes.

DGCL (Wang et al., "Hunting Sparsity: Density-Guided Contrastive Learning for Semi-Supervised Semantic Segmentation",
CVPR 2023; code https://github.com/Gavinwxy/DGCL): with s_1 >= s_2 >= ... the cosine similarities of a feature to the rows
of a bank::

    d_k = (s_1 + ... + s_k) / k        d = (d_8 + d_16 + d_32) / 3

The authors' code ranks every similarity matrix three times; d is one weighted sum over the 32 nearest.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.methods.ddfp.flow import full_precision

SCALES = (8, 16, 32)
"""Neighbourhood sizes of the published method."""

CHUNK = 1024
"""Queries whose similarities to a bank are alive at one time: 40 MB against 10,000 rows."""


def neighbor_weights(scales: Sequence[int] = SCALES) -> Tensor:
    """Weight of the nearest, the second nearest, ... neighbour in the mean over ``scales``.

    Returns:
        (max(scales),) float32, falling, of sum 1: for 8, 16, 32 they are 0.0729 (ranks 1 to 8), 0.03125 (9 to 16) and
        0.0104 (17 to 32).
    """
    ranks = torch.arange(max(scales))
    return sum((ranks < k) / (k * len(scales)) for k in scales)


def knn_density(
    queries: Tensor,
    bank: Tensor,
    scales: Sequence[int] = SCALES,
    filled: Tensor | None = None,
    chunk: int = CHUNK,
    buffer: Tensor | None = None,
) -> Tensor:
    """Density of features with respect to a bank, in [-1, 1]; in [0, 1] where both are non-negative.

    Args:
        queries: (N, C) of any floating dtype and any length.
        bank: (M, C) of unit rows, M >= max(scales).
        scales: Neighbourhood sizes.
        filled: (1,) int64, the rows of the bank that count, from the front; those behind them are zero. None is all. With
            fewer than max(scales) rows the missing neighbours are as far as can be, at -1.
        chunk: Queries at one time; bounds memory and changes nothing else.
        buffer: Room for (min(chunk, N), M) float32 similarities, where many calls can share it: on a CPU new memory costs
            a third of the product.

    Returns:
        (N,) float32, without a graph.
    """
    with torch.no_grad(), full_precision(queries):
        rows = bank.float()
        weights = neighbor_weights(scales).to(rows.device)
        missing = torch.zeros(len(rows), device=rows.device)
        if filled is not None:
            missing = missing.masked_fill(torch.arange(len(rows), device=rows.device) >= filled, -1)
        if buffer is None:
            buffer = rows.new_empty(min(chunk, len(queries)), len(rows))
        parts = []
        for part in queries.split(chunk):
            directions = F.normalize(part.float(), dim=1)
            similarity = torch.addmm(missing, directions, rows.T, out=buffer[: len(part)])
            parts.append(similarity.topk(len(weights), dim=1).values @ weights)
        return torch.cat(parts) if parts else rows.new_empty(0)
