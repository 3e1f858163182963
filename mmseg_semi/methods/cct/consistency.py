"""Distances between two predictions of a pixel, and their sum over many decoders in bounded memory.

One normaliser for all of them: a distance is a sum over classes, and a loss divides the sum over pixels by
(classes x pixels counted). MSE is then the mean over all entries of the released CCT code (arXiv 2003.09005,
github.com/yassouali/CCT); its KL divided by (classes x pixels) without a confidence mask and by the pixels alone with one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_semi.errors import SetupError

Distance = Callable[[Tensor, Tensor], Tensor]
"""(scores (..., C, P), target probabilities broadcastable to them) -> sums over the classes, (..., P)."""

_TINY = 1e-30


def squared_distance(scores: Tensor, target: Tensor) -> Tensor:
    """sum_c (softmax(s)_c - q_c)^2, in [0, 2]."""
    return (scores.softmax(dim=-2) - target).square().sum(dim=-2)


def kl_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """KL(q || softmax(s)) in nats."""
    return (torch.xlogy(target, target) - target * scores.log_softmax(dim=-2)).sum(dim=-2)


def js_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats, in [0, ln 2]: (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2."""
    log_p = scores.log_softmax(dim=-2)
    p = log_p.exp()
    log_m = ((p + target) / 2).clamp(min=_TINY).log()
    terms = p * (log_p - log_m) + torch.xlogy(target, target) - target * log_m
    return terms.sum(dim=-2) / 2


def reversed_js_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """What the released CCT code calls JS: (KL(m || p) + KL(m || q + 1e-5)) / 2, m differentiated as well."""
    log_p = scores.log_softmax(dim=-2)
    m = (log_p.exp() + target) / 2
    log_m = m.clamp(min=_TINY).log()
    terms = m * (log_m - log_p) + m * (log_m - (target + 1e-5).log())
    return terms.sum(dim=-2) / 2


_DISTANCES: dict[str, Distance] = {
    'mse': squared_distance,
    'kl': kl_divergence,
    'js': js_divergence,
    'js_reversed': reversed_js_divergence,
}


def label_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in nats against labels.

    Args:
        scores: (K, C, P).
        labels: (1, P) int64 in [0, C); elsewhere, such as at 255, the answer is 0, and so is its gradient.

    Returns:
        (K, P).
    """
    known = (labels >= 0) & (labels < scores.shape[-2])
    index = labels.where(known, 0).expand(len(scores), 1, -1)
    return -scores.log_softmax(dim=-2).gather(-2, index)[..., 0, :] * known


def find_distance(name: str, key: str = 'distance') -> Distance:
    """The distance of this name.

    Raises:
        SetupError: There is none; the sentence names ``key``.
    """
    if name not in _DISTANCES:
        raise SetupError(f"{key}='{name}': expected one of {tuple(_DISTANCES)}")
    return _DISTANCES[name]


class Term(NamedTuple):
    """What the scores of K decoders are compared with.

    Args:
        distance: See :data:`Distance`.
        target: (N, C, S, P), what ``distance`` takes: probabilities, or labels with C = 1. Without a graph.
        weight: (N, S, P), factor of each pixel. Without a graph.
    """

    distance: Distance
    target: Tensor
    weight: Tensor


def consistency_sums(
    lifted: Tensor,
    parameters: Sequence[Tensor],
    tail: Callable[..., Tensor],
    target: Tensor,
    weight: Tensor,
    distance: Distance,
    chunk: int,
) -> Tensor:
    """For each of K decoders the weighted sum of its pixels' distances to one target, (K,); see :func:`decoder_sums`."""
    return decoder_sums(lifted, parameters, tail, [Term(distance, target, weight)], chunk)[0]


def decoder_sums(
    lifted: Tensor,
    parameters: Sequence[Tensor],
    tail: Callable[..., Tensor],
    terms: Sequence[Term],
    chunk: int,
) -> Tensor:
    """For each of several terms and of K decoders the weighted sum of the pixels' distances.

    Equals ``(distance(tail(lifted, *parameters), target) * weight).sum()`` for every term and decoder, but the scores are
    computed once, and no map of them outlives its chunk: the gradients are taken in the forward pass, chunk by chunk, and
    only those with respect to ``lifted`` and ``parameters`` are kept, which the backward pass scales. Nothing is computed
    twice. Computed in float32 or, for double inputs, in float64. Second derivatives are not available.

    Args:
        lifted: (N, K, C, P), the first layer's output of K decoders at the P cells of each image.
        parameters: Tensors of the decoders' tails, each with K in front; decoder k's sum depends on their k-th slices.
        tail: (lifted (K, C, p), *parameters) -> scores (K, C, S p), pixel s of cell j at position s p + j.
        terms: T of them.
        chunk: Scores computed at a time, at most, but never fewer than those of one cell.

    Returns:
        (T, K).
    """
    with torch.autocast(lifted.device.type, enabled=False):
        dtype = torch.promote_types(lifted.dtype, torch.float32)
        terms = [
            Term(
                distance,
                target.detach().to(dtype if target.is_floating_point() else target.dtype),
                weight.detach().to(dtype),
            )
            for distance, target, weight in terms
        ]
        return _DecoderSums.apply(
            lifted.to(dtype), tail, terms, chunk, torch.is_grad_enabled(), *parameters
        )


def cell_chunks(
    count: int, cells: int, scores_a_cell: int, chunk: int
) -> Iterator[tuple[int, slice]]:
    """(image, slice of its cells) of at most ``chunk`` scores each, one cell at least."""
    step = max(1, chunk // scores_a_cell)
    for image in range(count):
        for first in range(0, cells, step):
            yield image, slice(first, min(first + step, cells))


class _DecoderSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, lifted, tail, terms, chunk, wanted, *parameters):
        count, decoders, classes, cells = lifted.shape
        size = terms[0].target.shape[2] * classes * decoders
        inputs = (lifted, *parameters)
        wanted = wanted and any(tensor.requires_grad for tensor in inputs)
        gradients = [[torch.zeros_like(x) for x in inputs] for _ in terms] if wanted else []
        sums = lifted.new_zeros(len(terms), decoders)
        for image, part in cell_chunks(count, cells, size, chunk):
            leaves = [lifted[image, :, :, part], *parameters]
            with torch.set_grad_enabled(wanted):
                leaves = [leaf.detach().requires_grad_(wanted) for leaf in leaves]
                scores = tail(*leaves)
                own = [
                    distance(scores, target[image, :, :, part].reshape(target.shape[1], -1))
                    @ weight[image, :, part].reshape(-1)
                    for distance, target, weight in terms
                ]
            for index, value in enumerate(own):
                sums[index] += value.detach()
                if wanted:
                    more = index < len(own) - 1
                    found = torch.autograd.grad(
                        value, leaves, torch.ones_like(value), retain_graph=more
                    )
                    gradients[index][0][image, :, :, part] = found[0]
                    for total, term in zip(gradients[index][1:], found[1:], strict=True):
                        total += term
        ctx.save_for_backward(*[tensor for own in gradients for tensor in own])
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        # decoder k's sum depends on the k-th slices alone
        saved, terms = ctx.saved_tensors, len(scale)
        size = len(saved) // terms
        lifted, *parameters = (
            sum(_scaled(saved[t * size + i], scale[t], i == 0) for t in range(terms))
            for i in range(size)
        )
        return lifted, *[None] * 4, *parameters


def _scaled(gradient: Tensor, scale: Tensor, behind_images: bool) -> Tensor:
    """A gradient times a factor for each decoder: its first dimension, or the second behind the images."""
    return gradient * scale.view(-1, *[1] * (gradient.dim() - 1 - behind_images))
