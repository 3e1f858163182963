"""Distances between two predictions of a pixel, and their sum over many decoders in bounded memory.

The consistency losses of CCT: Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005;
behaviour checked against https://github.com/yassouali/CCT (65d4e5b). With s the logits of an
auxiliary decoder at a pixel, q the main decoder's probabilities, p = softmax(s) and
m = (p + q) / 2::

    mse          sum_c (p_c - q_c)^2
    kl           KL(q || p)
    js           ( KL(p || m) + KL(q || m) ) / 2
    js_reversed  ( KL(m || p) + KL(m || q + 1e-5) ) / 2

All distances have one normaliser: a distance is a sum over classes, and a loss divides the sum over
pixels by classes x counted pixels. So MSE is the released code's mean over all entries. The
released code divides KL by classes x pixels without a confidence mask, and by the pixels alone with
one.

The sum over decoders goes through the cells in parts: logits, distances, and all gradients of a
part, in memory that the next part uses again (:class:`.pixel_shuffle.BufferedTail`). MSE has a
gradient by hand, the other distances and other layers that of autograd.

Shapes: N images, K decoders, C classes, P cells of the feature grid, S pixels of a cell.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct.pixel_shuffle import Memory

Distance = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (..., C, P) and target probabilities that broadcast to them to distances (..., P)."""

_TINY = 1e-30
_LOG2_E = math.log2(math.e)


def squared_distance(scores: Tensor, target: Tensor) -> Tensor:
    """Compute the squared distance of the probabilities, sum_c (p_c - q_c)^2.

    Args:
        scores: (..., C, P) logits s.
        target: Probabilities q that broadcast to ``scores``.

    Returns:
        (..., P), in [0, 2].

    Example:
        >>> squared_distance(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]))
        tensor([0.5000])
    """
    return (scores.softmax(dim=-2) - target).square().sum(dim=-2)


def kl_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """Compute the divergence KL(q || p) of the prediction from the target.

    Args:
        scores: (..., C, P) logits s.
        target: Probabilities q that broadcast to ``scores``.

    Returns:
        (..., P) in nats.

    Example:
        >>> kl_divergence(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]))
        tensor([0.6931])
    """
    return (torch.xlogy(target, target) - target * scores.log_softmax(dim=-2)).sum(dim=-2)


def js_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence (KL(p || m) + KL(q || m)) / 2, with m = (p + q) / 2.

    Args:
        scores: (..., C, P) logits s.
        target: Probabilities q that broadcast to ``scores``.

    Returns:
        (..., P) in nats, in [0, ln 2].

    Example:
        >>> js_divergence(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]))
        tensor([0.2158])
    """
    log_p = scores.log_softmax(dim=-2)
    p = log_p.exp()
    log_m = ((p + target) / 2).clamp(min=_TINY).log()
    terms = p * (log_p - log_m) + torch.xlogy(target, target) - target * log_m
    return terms.sum(dim=-2) / 2


def reversed_js_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """Compute what the released CCT code calls JS, (KL(m || p) + KL(m || q + 1e-5)) / 2.

    The gradient flows through m as well.

    Args:
        scores: (..., C, P) logits s.
        target: Probabilities q that broadcast to ``scores``.

    Returns:
        (..., P) in nats.

    Example:
        >>> reversed_js_divergence(torch.zeros(2, 1), torch.tensor([[0.75], [0.25]]))
        tensor([0.0348])
    """
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
    """Compute the cross entropy against labels.

    Args:
        scores: (K, C, P) logits.
        labels: (1, P) int64 in [0, C). Any other label, such as 255, is ignored.

    Returns:
        (K, P) in nats; value and gradient are 0 at ignored labels.

    Example:
        >>> labels = torch.tensor([[0, 2, 255]])
        >>> label_cross_entropy(torch.zeros(4, 3, 3), labels)[0]
        tensor([1.0986, 1.0986, 0.0000])
    """
    known = (labels >= 0) & (labels < scores.shape[-2])
    index = labels.where(known, 0).expand(len(scores), 1, -1)
    return -scores.log_softmax(dim=-2).gather(-2, index)[..., 0, :] * known


def find_distance(name: str, key: str = 'distance') -> Distance:
    """Return the distance of a name.

    Args:
        name: 'mse' (the released setting), 'kl', 'js' or 'js_reversed'.
        key: Config key, for the error.

    Raises:
        SetupError: If the name is unknown.

    Example:
        >>> distance = find_distance('mse')
        >>> distance(torch.randn(4, 3, 10), torch.randn(3, 10).softmax(dim=0)).shape
        torch.Size([4, 10])
    """
    if name not in _DISTANCES:
        raise SetupError(f"{key}='{name}': expected one of {tuple(_DISTANCES)}")
    return _DISTANCES[name]


@torch.no_grad()
def probabilities(scores: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute the softmax over the classes, without a graph.

    On the CPU, torch's softmax over a dimension that is not the last one takes three times as long
    as these passes; powers of 2 are cheaper than those of e. Probabilities below the square of the
    rounding error are raised to it, relative to the largest one: they are lost in every sum, and
    their products would be subnormal numbers, with which a CPU computes slowly.

    Args:
        scores: (..., C, P) logits.
        out: Where to write the result, like ``scores``; None: new memory.

    Returns:
        (..., C, P).

    Example:
        >>> probabilities(torch.zeros(2, 1)).T
        tensor([[0.5000, 0.5000]])
    """
    if scores.device.type != 'cpu':
        return torch.softmax(scores, dim=-2, out=out)
    smallest = 2 * math.log2(torch.finfo(scores.dtype).eps)
    powers = torch.sub(scores, scores.amax(dim=-2, keepdim=True), out=out)
    powers.mul_(_LOG2_E).clamp_(min=smallest).exp2_()
    return powers.mul_(powers.sum(dim=-2, keepdim=True).reciprocal_())


class Term(NamedTuple):
    """A target for the logits of K decoders.

    Args:
        distance: Distance between logits and target, see :data:`Distance`.
        target: (N, C, S, P) probabilities, or (N, 1, S, P) labels; without a graph.
        weight: (N, S, P), factor of each pixel; without a graph.
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
    """Sum the weighted distances of each decoder's pixels to one target.

    Args:
        lifted: (N, K, C, P), see :func:`decoder_sums`, as the other arguments.

    Returns:
        (K,).

    Example:
        >>> lifted = torch.randn(2, 4, 3, 25, requires_grad=True)  # 4 decoders, 3 classes, 25 cells
        >>> target, weight = torch.randn(2, 3, 1, 25).softmax(dim=1), torch.ones(2, 1, 25)
        >>> sums = consistency_sums(lifted, [], torch.relu, target, weight, squared_distance, 100)
        >>> sums.sum().backward()
        >>> sums.shape, lifted.grad.shape
        (torch.Size([4]), torch.Size([2, 4, 3, 25]))
    """
    return decoder_sums(lifted, parameters, tail, [Term(distance, target, weight)], chunk)[0]


def decoder_sums(
    lifted: Tensor,
    parameters: Sequence[Tensor],
    tail: Callable[..., Tensor],
    terms: Sequence[Term],
    chunk: int,
) -> Tensor:
    """Sum the weighted distances of each decoder's pixels to several targets.

    The result equals ``(distance(tail(lifted, *parameters), target) * weight).sum()``, for every
    term and decoder. The logits are computed once, and no map of them outlives its chunk. The
    forward pass takes the gradients chunk by chunk and keeps only those with respect to ``lifted``
    and ``parameters``; the backward pass scales them. The precision is float32, or float64 for
    double inputs. Second derivatives are not available.

    Args:
        lifted: (N, K, C, P), output of the first layer of K decoders at the P cells of each image.
        parameters: Tensors of the decoders' other layers, each with K in front. Decoder k depends
            on their k-th slices alone.
        tail: Other layers: maps lifted (K, C, p) and the parameters to logits (K, C, S p). Pixel s
            of cell j has position s p + j.
        terms: T targets.
        chunk: Largest number of logits at one time; at least one cell is computed at one time.

    Returns:
        (T, K).

    Example:
        >>> from mmseg_semi.methods.cct.perturbations.draws import project
        >>> from mmseg_semi.methods.cct.pixel_shuffle import DecoderStack
        >>> decoders = DecoderStack(count=4, in_channels=8, num_classes=3, upscale=2)
        >>> lifted = project(torch.rand(2, 8, 5, 5), decoders.project)
        >>> target, weight = torch.randn(2, 3, 4, 25).softmax(dim=1), torch.ones(2, 4, 25)
        >>> terms = [Term(squared_distance, target, weight), Term(kl_divergence, target, weight)]
        >>> decoder_sums(lifted, decoders.levels, decoders.tail, terms, chunk=100).shape
        torch.Size([2, 4])
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
    """Split the cells of all images into parts with a bounded number of logits.

    Args:
        count: Number of images.
        cells: Cells of an image.
        scores_a_cell: Logits of a cell.
        chunk: Largest number of logits of a part; a part has at least one cell.

    Yields:
        Image and slice of its cells.

    Example:
        >>> list(cell_chunks(count=1, cells=5, scores_a_cell=12, chunk=24))
        [(0, slice(0, 2, None)), (0, slice(2, 4, None)), (0, slice(4, 5, None))]
    """
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
        passes, memory = tail_passes(tail, parameters), Memory()
        for image, part in cell_chunks(count, cells, size, chunk):
            scores = passes.forward(lifted[image, :, :, part])
            for index, (distance, target, weight) in enumerate(terms):
                measure = _squared_distances if distance is squared_distance else _distances
                value, gradient = measure(
                    Term(
                        distance,
                        target[image, :, :, part].reshape(target.shape[1], -1),
                        weight[image, :, part].reshape(-1),
                    ),
                    scores,
                    wanted,
                    memory,
                )
                sums[index] += value
                if wanted:
                    of_lifted, *totals = gradients[index]
                    of_lifted[image, :, :, part] = passes.backward(gradient, totals)
        ctx.save_for_backward(*[tensor for own in gradients for tensor in own])
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        # decoder k depends on the k-th slices alone, so its factor scales them
        saved, terms = ctx.saved_tensors, len(scale)
        size = len(saved) // terms
        lifted, *parameters = (
            sum(_scaled(saved[t * size + i], scale[t], i == 0) for t in range(terms))
            for i in range(size)
        )
        return lifted, *[None] * 4, *parameters


def _squared_distances(
    term: Term, scores: Tensor, wanted: bool, memory: Memory
) -> tuple[Tensor, Tensor | None]:
    """Compute what :func:`_distances` does for :func:`squared_distance`, by hand.

    With d = p - q, the derivative with respect to s_c is 2 p_c (d_c - sum_j p_j d_j).
    """
    p = probabilities(scores, out=memory.take('p', scores.shape, scores))
    d = torch.sub(p, term.target, out=memory.take('d', scores.shape, scores))
    twice = 2 * term.weight
    weighted = torch.mul(d, twice, out=memory.take('weighted d', scores.shape, scores))
    # a product of two vectors for each decoder: no other form reads both only once
    value = torch.stack([a.view(-1).dot(b.view(-1)) for a, b in zip(weighted, d, strict=True)]) / 2
    if not wanted:
        return value, None
    product = weighted.mul_(p)
    product.addcmul_(p, product.sum(dim=-2, keepdim=True), value=-1)
    return value, product


def _distances(
    term: Term, scores: Tensor, wanted: bool, memory: Memory
) -> tuple[Tensor, Tensor | None]:
    """Sum the weighted distances of logits to one term, with their gradient by autograd.

    Args:
        term: With target (C, P) or (1, P) and weight (P,).
        scores: (K, C, P) logits.
        wanted: Whether to take the gradient.
        memory: For intermediate results.

    Returns:
        (K,) sums and the gradient with respect to the logits, (K, C, P), contiguous, or None.
    """
    scores = scores.detach().requires_grad_(wanted)
    with torch.set_grad_enabled(wanted):
        value = term.distance(scores, term.target) @ term.weight
    if not wanted:
        return value, None
    (gradient,) = torch.autograd.grad(value, scores, torch.ones_like(value))
    return value.detach(), gradient.contiguous()


class _TailPasses(Protocol):
    """Layers of K decoders, forward and backward, see :class:`.pixel_shuffle.BufferedTail`."""

    def forward(self, lifted: Tensor) -> Tensor:
        """Map (K, C, P) to logits (K, C, S P), which the next call may overwrite."""

    def backward(self, gradient: Tensor, totals: Sequence[Tensor] | None = None) -> Tensor:
        """Take the gradient (K, C, P) of the last forward pass from that of the logits.

        The gradients of the parameters are added to ``totals``.
        """


def tail_passes(tail: Callable[..., Tensor], parameters: Sequence[Tensor]) -> _TailPasses:
    """Return forward and backward pass of the layers after the first one.

    Args:
        tail: Maps (K, C, P) and the parameters to logits. Its own ``passes`` is used if it has one,
            otherwise autograd.
        parameters: Parameters of these layers.

    Example:
        >>> passes = tail_passes(torch.relu, [])
        >>> passes.forward(torch.tensor([[[-1.0, 2.0]]]))
        tensor([[[0., 2.]]])
        >>> passes.backward(torch.ones(1, 1, 2))
        tensor([[[0., 1.]]])
    """
    if hasattr(tail, 'passes'):
        return tail.passes(parameters)
    return _AutogradTail(tail, parameters)


class _AutogradTail:
    """The passes of any differentiable tail."""

    def __init__(self, tail: Callable[..., Tensor], parameters: Sequence[Tensor]) -> None:
        self._tail, self._parameters = tail, parameters

    def forward(self, lifted: Tensor) -> Tensor:
        leaves = [tensor.detach().requires_grad_() for tensor in (lifted, *self._parameters)]
        with torch.enable_grad():
            self._leaves, self._scores = leaves, self._tail(*leaves)
        return self._scores.detach()

    def backward(self, gradient: Tensor, totals: Sequence[Tensor] | None = None) -> Tensor:
        of_lifted, *found = torch.autograd.grad(
            self._scores, self._leaves, gradient, retain_graph=True
        )
        for total, own in zip(totals or (), found, strict=totals is not None):
            total += own
        return of_lifted


def _scaled(gradient: Tensor, scale: Tensor, behind_images: bool) -> Tensor:
    """Multiply a gradient by a factor for each decoder.

    Decoders are the first dimension, or the second one if ``behind_images``.
    """
    return gradient * scale.view(-1, *[1] * (gradient.dim() - 1 - behind_images))
