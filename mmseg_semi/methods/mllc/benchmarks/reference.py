"""MLLC's graphs as the released code computes them, for the tests and for the benchmark.

Every graph of an image with N nodes is an N x N matrix: fully sorted, and multiplied with diagonal
matrices. The package itself never holds such a matrix, see :mod:`mmseg_semi.methods.mllc.graphs`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def dense_semantic(features: Tensor, top_k: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """The semantic graph of one image.

    Args:
        features: (N, D) node features.
        top_k: Number of neighbours of a node.

    Returns:
        (N, N) each: the kept similarities, the symmetric adjacency and the normalised adjacency.

    Example:
        >>> kept, adjacency, normalised = dense_semantic(torch.randn(30, 8), top_k=5)
        >>> bool((kept > 0).sum(dim=1).max() <= 6), torch.equal(adjacency, adjacency.T)
        (True, True)
    """
    f = features / (features.norm(dim=1, keepdim=True) + 1e-9)
    s = (f @ f.T).clamp(min=0)
    cut = s.sort(dim=1, descending=True).values[:, min(top_k, len(s) - 1)]
    t = torch.where(s >= cut[:, None], s, 0.0)
    a = t + t.T
    return t, a, _normalised(a)


def dense_class(logits: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """The class graph of one image.

    Args:
        logits: (N, K) class logits of the nodes.
        gate: (N,) class of each node; only nodes of one class are neighbours.

    Returns:
        (N, N) each: the adjacency and the normalised adjacency.
    """
    q = logits.softmax(dim=1)
    q = q / (q.norm(dim=1, keepdim=True) + 1e-9)
    hot = F.one_hot(gate, logits.shape[1]).to(q.dtype)
    w = (q @ q.T) * (hot @ hot.T)
    return w, _normalised(w)


def dense_round(
    one: nn.Module, logits: Tensor, features: Tensor, thresholds: Tensor
) -> tuple[Tensor, Tensor]:
    """One round of label correction of one image, with the settings and layers of ``one``.

    Args:
        one: A :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
        logits: (N, K) class logits of the nodes.
        features: (N, D) node features.
        thresholds: (K,) eta, the class thresholds.

    Returns:
        Refined logits (N, K) and refined features (N, D).
    """
    with torch.no_grad():
        confidence, classes = logits.softmax(dim=1).max(dim=1)
        # the released code's second condition; eta never exceeds 0.95
        reliable = (confidence >= thresholds[classes]) | (confidence >= 0.95)
        semantic = dense_semantic(features, one.top_k)[2]
    shares = logits.new_tensor([one.blend_unreliable, one.blend_reliable])
    share = shares[reliable.long()][:, None]
    refined = _layer(one.class_layer, share * (semantic @ logits) + (1 - share) * logits)
    with torch.no_grad():
        w = dense_class(refined, classes)[1]
    return refined, _layer(one.feature_layer, w @ features)


def _normalised(a: Tensor) -> Tensor:
    root = torch.diag((a.sum(dim=1) + 1e-10) ** -0.5)
    return root @ a @ root


def _layer(module: nn.Module, x: Tensor) -> Tensor:
    """A module of 1 x 1 convolutions on nodes, (N, C)."""
    return module(x.T[None, :, :, None])[0, :, :, 0].T
