"""CCT's I-VAT: the direction of the features to which a decoder is most sensitive.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005, after T. Miyato et al.,
https://arxiv.org/abs/1704.03976; behaviour checked against https://github.com/yassouali/CCT
(65d4e5b). With a decoder g, features z without a graph, and d_0 uniform in [-0.5, 0.5] and then of
unit length::

    D(d) = KL(softmax g(z) || softmax g(z + xi d)) / N      summed over classes and pixels
    r    = eps grad D(d_0) / (||grad D(d_0)|| + guard)      norms over all entries of an image

The released code has xi = 1e-6 and guard = 1e-8. In float32 the gradient is then smaller than the
guard and mostly rounding: r is hundreds of times shorter than eps and has no useful direction. The
default here is xi = 0.1 without a guard.

The gradient is taken with respect to d alone. So no weight gets a gradient, and gradients that were
accumulated before stay.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from mmseg_semi.methods.cct.consistency import probabilities, tail_passes
from mmseg_semi.methods.cct.perturbations.draws import RowSpaceShift, project, seeded

_NOISE_GUARD = 1e-8


def unit_noise(z: Tensor, generator: torch.Generator) -> Tensor:
    """Draw d_0, (N, C, h, w): uniform noise of length 1 for each image."""
    # drawn in single precision, so that a run in double precision draws the same numbers
    noise = torch.rand(z.shape, generator=generator, device=z.device, dtype=torch.float32)
    noise = noise.to(z.dtype) - 0.5
    return noise / (image_norm(noise) + _NOISE_GUARD)


def image_norm(x: Tensor) -> Tensor:
    """Compute the L2 norm over all entries of each image, (N, 1, ...)."""
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
    """Compute r for any decoder, in the space of its features.

    Args:
        decode: Maps features (N, C, h, w) to logits (N, K, ...). It must be the same function in
            every call: with dropout in it, the divergence would measure the dropout.
        z: (N, C, h, w) features.
        generator: Generator on z's device.
        xi: Length of the step at which the gradient is taken (0.1; 1e-6 in the released code).
        eps: Length of r for each image (2).
        steps: Number of power iterations (1).
        guard: Number added to the gradient's norm (0; 1e-8 in the released code).
        relative: Whether ``eps`` is a share of the length of the image's features.

    Returns:
        (N, C, h, w), without a graph; 0 for an image to which the decoder is not sensitive.

    Example:
        >>> decode, z = torch.nn.Conv2d(16, 3, 1), torch.rand(2, 16, 5, 7)
        >>> r = virtual_adversarial_perturbation(decode, z, torch.Generator(), eps=2.0)
        >>> r.shape, r.flatten(1).norm(dim=1).round(decimals=3)
        (torch.Size([2, 16, 5, 7]), tensor([2., 2.]))
        >>> decode.weight.grad is None
        True
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
            gradient = gradient / scale  # entries of 1e-11 have squares below float32's range
            direction = gradient / (image_norm(gradient) + guard / scale).clamp(min=1e-30)
        return eps * direction * (image_norm(z) if relative else 1.0)


def class_space_perturbation(
    z: Tensor,
    weight: Tensor,
    tail: Callable[..., Tensor],
    seeds: list[int],
    parts: Iterable[tuple[int, slice]],
    parameters: Sequence[Tensor] = (),
    xi: float = 0.1,
    eps: float = 2.0,
    steps: int = 1,
    guard: float = 0.0,
    relative: bool = False,
) -> RowSpaceShift:
    """Compute r for K pointwise decoders whose first layer is linear, in the space of its outputs.

    A decoder reads z through u = W z only. So grad D = xi W^T g with g the gradient with respect to
    u, and ||W^T g||^2 = sum g^T (W W^T) g. Only d_0 has the channels of z. The numbers are those of
    :func:`virtual_adversarial_perturbation` for each decoder, with a generator of its seed.

    Args:
        z: (N, C, h, w) features.
        weight: (K, O, C), first layers of the decoders.
        tail: Other layers, pointwise: maps (K, O, p) and the parameters to logits (K, O, S p).
        seeds: Seed of each decoder.
        parts: (image, slice of its h w cells) pairs that cover all cells; one part is computed at
            one time.
        parameters: Parameters of the other layers.
        xi, eps, steps, guard, relative: See :func:`virtual_adversarial_perturbation`.

    Example:
        >>> z, weight = torch.rand(2, 16, 5, 7), torch.randn(4, 3, 16)
        >>> parts = [(0, slice(0, 35)), (1, slice(0, 35))]
        >>> draw = class_space_perturbation(z, weight, torch.relu, [1, 2, 3, 4], parts)
        >>> draw.shift(0).flatten(1).norm(dim=1).round(decimals=3)
        tensor([2., 2.])
    """
    with torch.autocast(z.device.type, enabled=False):
        dtype = torch.promote_types(z.dtype, torch.float32)
        z, weight = z.detach().to(dtype), weight.detach().to(dtype)
        parts = list(parts)
        gram = weight @ weight.transpose(1, 2)
        passes = tail_passes(tail, parameters)
        lifted = project(z, weight)
        step = torch.stack(
            [
                layer @ unit_noise(z, seeded(seed, z.device)).flatten(2)
                for layer, seed in zip(weight, seeds, strict=True)
            ],
            dim=1,
        )
        for _ in range(steps):
            gradient = torch.empty_like(lifted)
            for image, part in parts:
                clean = lifted[image, :, :, part]
                target = probabilities(passes.forward(clean))
                moved = clean + xi * step[image, :, :, part]
                # the gradient of the divergence with respect to the logits
                rest = probabilities(passes.forward(moved)).sub_(target)
                gradient[image, :, :, part] = passes.backward(rest)
            scale = gradient.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-30)
            gradient /= scale
            length = (gradient * (gram @ gradient)).sum(dim=(2, 3), keepdim=True)
            length = length.clamp(min=0).sqrt()
            # grad D has the factor xi / N, which matters only beside the guard
            gradient /= (length + guard * len(z) / (xi * scale)).clamp(min=1e-30)
            step = gram @ gradient
        size = image_norm(z) if relative else 1.0
        return RowSpaceShift(eps * size * gradient, weight)
