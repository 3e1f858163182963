"""CCT's I-VAT: the direction of features to which a decoder is most sensitive (arXiv 2003.09005; Miyato et al.,
arXiv 1704.03976; github.com/yassouali/CCT).

With a decoder g and features z without a graph, d_0 uniform in [-0.5, 0.5] and of unit length::

    D(d) = KL(softmax g(z) || softmax g(z + xi d)) / N        summed over classes and pixels
    r    = eps grad D(d_0) / (||grad D(d_0)|| + guard)         norms over all channels and cells of an image

The released code has xi = 1e-6 and guard = 1e-8. In float32 the gradient is then smaller than the guard and mostly
rounding: r is hundreds of times shorter than eps and points nowhere. The default here is xi = 0.1 without a guard.

No weight gets a gradient: it is taken with respect to d alone, so nothing has to be erased afterwards, whatever gradients
have been accumulated before.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from mmseg_semi.methods.cct.perturbations.draws import RowSpaceShift, project, seeded

_NOISE_GUARD = 1e-8


def unit_noise(z: Tensor, generator: torch.Generator) -> Tensor:
    """d_0, (N, C, h, w): uniform, of length 1 an image."""
    # in single precision whatever z has, so that a run in double precision draws the same
    noise = torch.rand(z.shape, generator=generator, device=z.device, dtype=torch.float32)
    noise = noise.to(z.dtype) - 0.5
    return noise / (image_norm(noise) + _NOISE_GUARD)


def image_norm(x: Tensor) -> Tensor:
    """Length of each image's entries, (N, 1, ...)."""
    return x.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1))


def virtual_adversarial_perturbation(
    decode: Callable[[Tensor], Tensor],
    z: Tensor,
    generator: torch.Generator,
    xi: float = 0.1,
    eps: float = 2.0,
    steps: int = 1,
    guard: float = 0.0,
    relative: bool = False,
) -> Tensor:
    """r of any decoder, in the space of its features.

    Args:
        decode: (N, C, h, w) features -> (N, K, ...) scores, the same function in every call: dropout in it would be taken
            for the answer of the features.
        z: (N, C, h, w).
        generator: On z's device.
        xi: Length of the step at which the gradient is taken.
        eps: Length of r for each image.
        steps: Power iterations.
        guard: Added to the gradient's norm.
        relative: ``eps`` is a share of the length of the image's features.

    Returns:
        (N, C, h, w), without a graph; 0 for an image to which the decoder is not sensitive at all.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = z.detach().to(torch.promote_types(z.dtype, torch.float32))
        direction = unit_noise(z, generator)
        with torch.no_grad():
            target = decode(z).softmax(dim=1)
        for _ in range(steps):
            with torch.enable_grad():
                moved = direction.requires_grad_()
                scores = decode(z + xi * moved)
                # the entropy of the target has no gradient
                divergence = -(target * scores.log_softmax(dim=1)).sum() / len(z)
                (gradient,) = torch.autograd.grad(divergence, moved)
            scale = gradient.flatten(1).abs().amax(dim=1).clamp(min=1e-30)
            scale = scale.view(-1, *[1] * (z.dim() - 1))
            gradient = gradient / scale  # squares of what may be as small as 1e-11 leave float32
            direction = gradient / (image_norm(gradient) + guard / scale).clamp(min=1e-30)
        return eps * direction * (image_norm(z) if relative else 1.0)


def class_space_perturbation(
    z: Tensor,
    weight: Tensor,
    tail: Callable[[Tensor], Tensor],
    seeds: list[int],
    parts: Iterable[tuple[int, slice]],
    xi: float = 0.1,
    eps: float = 2.0,
    steps: int = 1,
    guard: float = 0.0,
    relative: bool = False,
) -> RowSpaceShift:
    """r of K pointwise decoders that begin with a linear layer, in the space of that layer's outputs.

    A decoder sees z through u = W z only, so grad D = xi W^T g with g the gradient with respect to u, and
    ||W^T g||^2 = sum g^T (W W^T) g: but for d_0, nothing with the channels of z is made. The same numbers as
    :func:`virtual_adversarial_perturbation` with each decoder and a generator of its seed.

    Args:
        z: (N, C, h, w).
        weight: (K, O, C), the first layers.
        tail: (K, O, p) -> scores (K, O, S p), pointwise.
        seeds: One a decoder.
        parts: (image, slice of its h w cells) that cover everything: how much is computed at a time.
    """
    with torch.autocast(z.device.type, enabled=False):
        dtype = torch.promote_types(z.dtype, torch.float32)
        z, weight = z.detach().to(dtype), weight.detach().to(dtype)
        parts = list(parts)
        gram = weight @ weight.transpose(1, 2)
        lifted = project(z, weight)
        step = torch.stack(
            [
                own @ unit_noise(z, seeded(seed, z.device)).flatten(2)
                for own, seed in zip(weight, seeds, strict=True)
            ],
            dim=1,
        )
        for _ in range(steps):
            gradient = torch.empty_like(lifted)
            for image, part in parts:
                clean = lifted[image, :, :, part]
                with torch.no_grad():
                    target = tail(clean).softmax(dim=1)
                with torch.enable_grad():
                    moved = (clean + xi * step[image, :, :, part]).requires_grad_()
                    divergence = -(target * tail(moved).log_softmax(dim=1)).sum()
                    (gradient[image, :, :, part],) = torch.autograd.grad(divergence, moved)
            scale = gradient.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-30)
            gradient /= scale
            length = (gradient * (gram @ gradient)).sum(dim=(2, 3), keepdim=True)
            length = length.clamp(min=0).sqrt()
            # grad D has the factor xi / N, which only the guard sees
            gradient /= (length + guard * len(z) / (xi * scale)).clamp(min=1e-30)
            step = gram @ gradient
        size = image_norm(z) if relative else 1.0
        return RowSpaceShift(eps * size * gradient, weight)
