"""Perturbation of features: a step of fixed length towards lower feature density.

The perturbation of DDFP: X. Wang et al., "Towards the Uncharted: Density-Descending Feature
Perturbation for Semi-supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2403.06462; behaviour checked against https://github.com/Gavinwxy/DDFP
(7956c72). The block x = h(v) maps the decoder's input v to the features x whose density p is
modelled. With A the pixels that carry a pseudo-label::

    J(v) = - sum over p in A of log p(h(v)_p)
    g    = dJ/dv
    r_p  = eps * g_p / max(||g_p||_2, 1e-12)       at every pixel p, norm over the channels of v

Departs from the authors' code in: J is the sum over A, where the code takes the mean (r is the
same, and no gradient vanishes in half precision); density and lengths are float32; an empty A gives
r = 0, where the code fails; h's first convolution does not run again, its output is passed in.

Shapes: N images of H x W pixels, Cv channels of v, C1 of h's first convolution, C of x.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mmseg_semi.methods.ddfp.mixture import MixtureDensity
from mmseg_semi.precision import full_precision

SMALLEST_NORM = 1e-12
"""Smallest length that a gradient is divided by."""


def density_descending_direction(
    lifted: Tensor,
    to_features: Callable[[Tensor], Tensor],
    density: MixtureDensity,
    mask: Tensor,
    lift_transpose: Callable[[Tensor], Tensor] | None = None,
    eps: float = 4.0,
    gather: bool | None = None,
) -> Tensor:
    """Compute the perturbation r of a decoder's input v that lowers its features' density.

    The block h is passed in two parts, ``h(v) = to_features(lift(v))``. ``lift`` is linear up to a
    bias, usually h's first convolution. The caller has computed ``lift(v)`` already, and the
    gradient passes back through its transpose, which costs one convolution and no forward.

    Weights get no gradient and no ``.grad`` is touched. ``to_features`` runs once whatever ``mask``
    holds, so processes that synchronise batch norms stay in step.

    Args:
        lifted: (N, C1, H, W), ``lift(v)``, or v itself if ``lift`` is the identity. A graph that it
            carries is not used.
        to_features: The rest of h, (N, C1, H, W) -> (N, C, H, W), in the branch (norms, dropout)
            that the perturbed features will take. It may run under autocast.
        density: Density model of the C-channel features.
        mask: (N, H, W) bool, the pixels A whose density is to fall.
        lift_transpose: Maps the gradient with respect to ``lift(v)`` to that with respect to v,
            (N, C1, H, W) -> (N, Cv, H, W); None if ``lift`` is the identity.
        eps: L2 length of r at every pixel that A's features depend on, in units of v (4.0).
        gather: True runs the density on the pixels of A only, which stops a GPU until their number
            is known. False runs it on all pixels, in chunks, and drops the others. The result is
            the same. None means True on a CPU, which never waits, and False elsewhere.

    Returns:
        r, (N, Cv, H, W) in ``lifted``'s dtype, at least float32, without a graph: ``v + r`` is the
        moved input. r is 0 at pixels that no feature in A depends on, so everywhere if A is empty.

    Raises:
        ValueError: If ``mask`` is not a boolean map of ``lifted``'s size.

    Example:
        >>> density = MixtureDensity(channels=8, num_components=3, hidden_channels=16)
        >>> v, mask = torch.randn(2, 8, 5, 5), torch.ones(2, 5, 5, dtype=torch.bool)
        >>> r = density_descending_direction(v, torch.tanh, density, mask, eps=0.1)
        >>> before, after = (torch.tanh(x).movedim(1, -1).flatten(0, 2) for x in (v, v + r))
        >>> (density.log_prob(after).mean() < density.log_prob(before).mean()).item()
        True
    """
    if mask.dtype != torch.bool or mask.shape != (len(lifted), *lifted.shape[2:]):
        raise ValueError(
            f'mask must be bool of shape (N, H, W) for lifted {tuple(lifted.shape)}, '
            f'got {mask.dtype} of shape {tuple(mask.shape)}'
        )
    with torch.enable_grad():
        lifted = lifted.detach().requires_grad_()
        features = to_features(lifted)
    grad_x = _energy_gradient(features.detach(), density, mask, gather)

    # r does not depend on the scale of J. With a largest entry of 1, the backward pass stays within
    # the range of half precision.
    grad_x = grad_x / grad_x.abs().amax().clamp_min(SMALLEST_NORM)
    # empty_like keeps the features' dtype and memory format, which their backward pass expects.
    grad_x = torch.empty_like(features, requires_grad=False).copy_(grad_x)
    # A backward pass has the precision of its forward pass and needs no autocast.
    with full_precision(lifted):
        (grad,) = torch.autograd.grad(features, lifted, grad_outputs=grad_x)
    if lift_transpose is not None:
        # detach, not no_grad: under no_grad, autocast in older PyTorch keeps a cast copy of the
        # weight without a graph, and the loss does not train that weight (pytorch issue 112583).
        grad = lift_transpose(grad).detach()
    return _to_length(grad.to(torch.promote_types(lifted.dtype, torch.float32)), eps)


def random_direction(
    like: Tensor, eps: float = 4.0, generator: torch.Generator | None = None
) -> Tensor:
    """Draw a perturbation of the same length in a random direction: the control experiment.

    Args:
        like: (N, C, H, W), the map to be moved; only its shape, dtype and device are used.
        eps: L2 length of the perturbation at every pixel (4.0).
        generator: Generator of the draw, on any device; None draws from the global one of
            ``like``'s device.

    Returns:
        (N, C, H, W) in ``like``'s dtype, at least float32, without a graph. Every pixel's direction
        is uniform on the sphere.

    Example:
        >>> r = random_direction(torch.randn(2, 8, 5, 5), eps=4.0)
        >>> torch.allclose(r.norm(dim=1), torch.full((2, 5, 5), 4.0))
        True
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    device = like.device if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, dtype=dtype, device=device)
    return _to_length(noise.to(like.device), eps)


def _energy_gradient(
    features: Tensor, density: MixtureDensity, mask: Tensor, gather: bool | None
) -> Tensor:
    """Compute the gradient of J with respect to the features, (N, C, H, W)."""
    n, c, h, w = features.shape
    pixels = features.permute(0, 2, 3, 1).reshape(-1, c)  # N H W x C
    inside = mask.reshape(-1)
    if gather is None:
        gather = features.device.type == 'cpu'
    if gather:
        index = inside.nonzero().squeeze(1)
        score = density.energy_gradient(pixels.index_select(0, index))
        score = score.new_zeros(pixels.shape).index_copy_(0, index, score)
    else:
        # Filled, not multiplied by 0: a feature outside A may have an infinite gradient.
        score = density.energy_gradient(pixels).masked_fill_(~inside[:, None], 0)
    return score.view(n, h, w, c).permute(0, 3, 1, 2)


def _to_length(x: Tensor, length: float) -> Tensor:
    """Scale every pixel's vector (dim 1) to this length; a zero vector stays zero."""
    return F.normalize(x, dim=1, eps=SMALLEST_NORM).mul_(length)
