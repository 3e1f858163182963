"""Step of a fixed length towards lower feature density.

The perturbation of DDFP (Wang et al., "Towards the Uncharted: Density-Descending Feature
Perturbation for Semi-supervised Semantic Segmentation", CVPR 2024,
https://arxiv.org/abs/2403.06462; code https://github.com/Gavinwxy/DDFP). With the block x = h(v)
whose output's density p is modelled, and A the pixels that carry a pseudo-label::

    J(v) = - sum over p in A of log p(h(v)_p)
    g    = dJ/dv
    r_p  = eps * g_p / max(||g_p||_2, 1e-12)       for every pixel p, norm over the channels of v

Departs from the authors' code in: J is the sum over A where the code takes the mean (r is the same,
and no gradient vanishes in half precision); density and lengths are float32; an empty A gives
r = 0; h's first convolution is not run again, its output is passed in.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mmseg_semi.methods.ddfp.flow import full_precision
from mmseg_semi.methods.ddfp.mixture import MixtureDensity

SMALLEST_NORM = 1e-12


def density_descending_direction(
    lifted: Tensor,
    to_features: Callable[[Tensor], Tensor],
    density: MixtureDensity,
    mask: Tensor,
    lift_transpose: Callable[[Tensor], Tensor] | None = None,
    eps: float = 4.0,
    gather: bool | None = None,
) -> Tensor:
    """Perturbation r of a decoder's input that lowers the density of its output features.

    The block h is given in two parts, ``h(v) = to_features(lift(v))``, where ``lift`` is linear up
    to a bias, usually h's first convolution. Its output has been computed for the same v already,
    and the gradient passes back through its transpose, which costs one convolution and no forward.

    Weights get no gradient and no ``.grad`` is touched; ``to_features`` runs once, whatever
    ``mask`` holds, so that processes that synchronise batch norms stay in step.

    Args:
        lifted: (N, C1, H, W), ``lift(v)``; may carry a graph, which is not used. Where ``lift`` is
            the identity, v itself.
        to_features: The rest of h, (N, C1, H, W) -> (N, C, H, W), in the branch (norms, dropout)
            that the perturbed features will take. May run under autocast.
        density: Model of the C-channel features.
        mask: (N, H, W) bool, the pixels A whose density is to fall.
        lift_transpose: Gradient with respect to v given that with respect to ``lift(v)``,
            (N, C1, H, W) -> (N, Cv, H, W); None where ``lift`` is the identity.
        eps: Length of r at every pixel that A's features depend on, in units of v (authors: 4.0).
        gather: True runs the density on the pixels of A only, which stops a GPU until their number
            is known; False runs it on all pixels, in chunks, and drops the others. The result is
            the same. None: True on a CPU, where nothing has to wait, False elsewhere.

    Returns:
        (N, Cv, H, W) in ``lifted``'s dtype, at least float32, without a graph: ``v + r`` is the
        moved input. Zero at pixels that no feature in A depends on, so everywhere if A is empty.
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

    # r does not depend on the scale of J. With a largest entry of 1, what follows can run in half
    # precision without leaving its range.
    grad_x = grad_x / grad_x.abs().amax().clamp_min(SMALLEST_NORM)
    # empty_like keeps the features' dtype and memory format, which their backward pass expects.
    grad_x = torch.empty_like(features, requires_grad=False).copy_(grad_x)
    # A backward pass has the precision of its forward pass; autocast is not for it.
    with full_precision(lifted):
        (grad,) = torch.autograd.grad(features, lifted, grad_outputs=grad_x)
    if lift_transpose is not None:
        # detach rather than no_grad: autocast in older PyTorch would keep a cast copy of the weight
        # made without a graph, and the loss would not train that weight (pytorch issue 112583).
        grad = lift_transpose(grad).detach()
    return _to_length(grad.to(torch.promote_types(lifted.dtype, torch.float32)), eps)


def random_direction(
    like: Tensor, eps: float = 4.0, generator: torch.Generator | None = None
) -> Tensor:
    """Perturbation of the same length in a random direction, the control of the one above.

    Args:
        like: (N, C, H, W), the map to be moved; only its shape, dtype and device are used.
        eps: Length of the perturbation at every pixel.
        generator: Source of the draw, on any device; None draws from the global one of ``like``'s
            device.

    Returns:
        (N, C, H, W) in ``like``'s dtype, at least float32, without a graph; every pixel's direction
        is uniform on the sphere.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    device = like.device if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, dtype=dtype, device=device)
    return _to_length(noise.to(like.device), eps)


def _energy_gradient(
    features: Tensor, density: MixtureDensity, mask: Tensor, gather: bool | None
) -> Tensor:
    """Gradient of J with respect to the features, (N, C, H, W)."""
    n, c, h, w = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, c)
    inside = mask.reshape(-1)
    if gather is None:
        gather = features.device.type == 'cpu'
    if gather:
        index = inside.nonzero().squeeze(1)
        score = density.score(rows.index_select(0, index))
        score = score.new_zeros(rows.shape).index_copy_(0, index, score)
    else:
        # Filled, not multiplied: a feature outside A may be as extreme as it likes.
        score = density.score(rows).masked_fill_(~inside[:, None], 0)
    return score.view(n, h, w, c).permute(0, 3, 1, 2)


def _to_length(x: Tensor, length: float) -> Tensor:
    """Give every pixel's vector (dim 1) this length; zero stays zero."""
    return F.normalize(x, dim=1, eps=SMALLEST_NORM).mul_(length)
