"""MLLC's two contrasts of node features (arXiv 2404.02065): with class prototypes, and within an image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.labels import IGNORE

SCORES = 1 << 22
"""Pairs computed at a time (16 MiB)."""
LOWEST, HIGHEST = 1e-10, 1 - 1e-7
"""Ends that similarities are clamped to."""
NEVER = -1e4
"""Score of a class that takes no part; exp of it is 0 in float32."""


def class_prototype_contrast(
    features: Tensor, labels: Tensor, prototypes: Tensor, seen: Tensor, scale: float = 10.0
) -> Tensor:
    """Mean over all nodes of -log softmax_c(scale cos(F_i, Z_c))[l_i].

    Void nodes, and nodes of classes without a prototype, contribute 0 but count in the mean.

    Args:
        features: (B, D, h, w).
        labels: (B, h, w) int64 in [0, K) or IGNORE.
        prototypes: (K, D), of any length.
        seen: (K,) bool; classes that are not stay out of the softmax.
        scale: 1 / temperature.

    Returns:
        0-dim, at least float32, with a graph.
    """
    with torch.autocast(features.device.type, enabled=False):
        # what stands at void nodes reaches neither value nor gradient
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        features = features.masked_fill((labels == IGNORE)[:, None], 0.0)
        unit = F.normalize(features, dim=1)
        scores = scale * torch.einsum('bdhw,kd->bkhw', unit, F.normalize(prototypes, dim=1))
        scores = scores.masked_fill(~seen[:, None, None], NEVER)
        known = torch.cat([seen, seen.new_zeros(IGNORE + 1 - len(seen))])[labels]
        labels = labels.masked_fill(~known, IGNORE)
        total = F.cross_entropy(scores, labels, ignore_index=IGNORE, reduction='sum')
        return total / labels.numel()


class _PairwiseEntropy(torch.autograd.Function):
    """Sum of BCE(clamp(cos), same class) over the pairs of valid nodes; its gradient is found on the way.

    No (N, N) tensor is kept: the gradient with respect to the unit rows is one of their size, and pairs are symmetric.
    """

    @staticmethod
    def forward(ctx, unit: Tensor, labels: Tensor) -> Tensor:
        nodes = unit.shape[1]
        chunk = max(1, min(nodes, SCORES // nodes))
        gradient = torch.empty_like(unit)
        total = unit.new_zeros(())
        for image in range(len(unit)):
            rows, own = unit[image], labels[image]
            # void is of no class, its rows are 0: such pairs cost log 1, and have no slope for they are clamped
            others = own.masked_fill(own == IGNORE, -1)
            for start in range(0, nodes, chunk):
                cosine = rows[start : start + chunk] @ rows.T
                similarity = cosine.clamp(LOWEST, HIGHEST)
                clamped = similarity != cosine
                same = own[start : start + chunk, None] == others
                # of one class: -log s, slope -1/s; of two: -log(1 - s), slope 1/(1 - s)
                signed = torch.where(same, -similarity, 1 - similarity)
                total -= signed.abs().log_().sum()
                slope = signed.reciprocal_().masked_fill_(clamped, 0.0)
                torch.mm(slope, rows, out=gradient[image, start : start + chunk])
        gradient *= 2
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None


def pairwise_contrast(features: Tensor, labels: Tensor) -> Tensor:
    """Mean over an image's pairs of nodes of BCE(clamp(cos(F_i, F_j), 1e-10, 1 - 1e-7), [l_i = l_j]).

    The released code, in which this term is switched off, clamps to 1, where the slope of the logarithm is infinite, and
    takes void for a class of its own; here void nodes make no pairs. Pairs with a cosine below 0 cost, but move nothing.

    Args:
        features: (B, D, h, w).
        labels: (B, h, w) int64, IGNORE where void.

    Returns:
        0-dim, at least float32, with a graph; 0 where nothing is labelled.
    """
    with torch.autocast(features.device.type, enabled=False):
        rows = features.to(torch.promote_types(features.dtype, torch.float32))
        rows = rows.flatten(2).transpose(1, 2)
        labels = labels.flatten(1)
        void = labels == IGNORE
        unit = F.normalize(rows.masked_fill(void[..., None], 0.0), dim=2)
        pairs = (~void).sum(dim=1).square().sum()
        return _PairwiseEntropy.apply(unit, labels) / pairs.clamp(min=1)
