"""MLLC's two contrasts of node features: with class prototypes, and within an image.

H. Xiao et al., IEEE Trans. Multimedia 26 (2024), https://arxiv.org/abs/2404.02065; behaviour
checked against the authors' released training script. With features F, labels l and the prototype
Z_c of class c::

    inter = mean_i  -ln softmax_c( scale cos(F_i, Z_c) )[l_i]
    intra = mean_ij BCE( clamp(cos(F_i, F_j)), [l_i = l_j] )

Shapes: B images, K classes, D channels of the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.labels import IGNORE

SCORES = 1 << 22
"""Number of pairs that are computed at one time (16 MiB)."""
LOWEST, HIGHEST = 1e-10, 1 - 1e-7
"""Limits to which similarities are clamped."""
NEVER = -1e4
"""Logit of a class that stays out of the softmax; its exponential is 0 in float32."""


def class_prototype_contrast(
    features: Tensor, labels: Tensor, prototypes: Tensor, seen: Tensor, scale: float = 10.0
) -> Tensor:
    """Pull the features of nodes to the prototype of their class, away from the other prototypes.

    Ignored nodes, and nodes of classes without a prototype, contribute 0 but count in the mean.

    Args:
        features: (B, D, h, w) features F of any length.
        labels: (B, h, w) int64 in [0, K) or IGNORE.
        prototypes: (K, D) prototypes Z of any length.
        seen: (K,) bool, classes that have a prototype; the others stay out of the softmax.
        scale: Inverse of the temperature (10).

    Returns:
        0-dim, at least float32, with a graph.

    Example:
        >>> labels = torch.randint(3, (2, 5, 7))
        >>> prototypes = torch.eye(3, 8)
        >>> features = prototypes[labels].movedim(3, 1)  # each node at its prototype
        >>> class_prototype_contrast(features, labels, prototypes, torch.ones(3).bool()) < 1e-3
        tensor(True)
    """
    with torch.autocast(features.device.type, enabled=False):
        # features of ignored nodes, even NaN, must reach neither value nor gradient
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
    """Sum BCE(clamp(cos), same class) over pairs; the forward pass computes the gradient, too.

    No (N, N) tensor is kept: the gradient has the size of the unit rows, and pairs are symmetric.
    """

    @staticmethod
    def forward(ctx, unit: Tensor, labels: Tensor) -> Tensor:
        nodes = unit.shape[1]
        chunk = max(1, min(nodes, SCORES // nodes))
        gradient = torch.empty_like(unit)
        total = unit.new_zeros(())
        for image in range(len(unit)):
            rows, classes = unit[image], labels[image]
            # Ignored nodes have rows of 0 and differ from every class. So their pairs cost log 1,
            # and have no slope because they are clamped.
            others = classes.masked_fill(classes == IGNORE, -1)
            for start in range(0, nodes, chunk):
                cosine = rows[start : start + chunk] @ rows.T
                similarity = cosine.clamp(LOWEST, HIGHEST)
                clamped = similarity != cosine
                same = classes[start : start + chunk, None] == others
                # the same class: -log s, slope -1/s; two classes: -log(1 - s), slope 1/(1 - s)
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
    """Pull the features of one class together and push those of two classes apart, in each image.

    The loss is the mean over an image's pairs of BCE(clamp(cos(F_i, F_j), 1e-10, 1 - 1e-7),
    [l_i = l_j]). Pairs with a cosine below 0 have a loss but no gradient. The released code turns
    this term off. It clamps to 1, where the slope of the logarithm is infinite, and makes a class
    of the ignored nodes; here ignored nodes are in no pair.

    Args:
        features: (B, D, h, w) features F of any length.
        labels: (B, h, w) int64, classes or IGNORE.

    Returns:
        0-dim, at least float32, with a graph; 0 if every node is ignored.

    Example:
        >>> labels = torch.randint(3, (2, 5, 7))
        >>> features = torch.eye(3, 8)[labels].movedim(3, 1)  # a direction per class
        >>> pairwise_contrast(features, labels) < 1e-6
        tensor(True)
    """
    with torch.autocast(features.device.type, enabled=False):
        rows = features.to(torch.promote_types(features.dtype, torch.float32))
        rows = rows.flatten(2).transpose(1, 2)
        labels = labels.flatten(1)
        ignored = labels == IGNORE
        unit = F.normalize(rows.masked_fill(ignored[..., None], 0.0), dim=2)
        pairs = (~ignored).sum(dim=1).square().sum()
        return _PairwiseEntropy.apply(unit, labels) / pairs.clamp(min=1)
