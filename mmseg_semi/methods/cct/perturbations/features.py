"""CCT's perturbations that need the features alone: F-Noise, F-Drop, DropOut (arXiv 2003.09005; github.com/yassouali/CCT).

Each draws for K decoders at once and returns a :class:`~mmseg_semi.methods.cct.perturbations.draws.Draw`. Host draws come from a CPU
generator; what is drawn on the device comes from a generator seeded by it.
"""

import torch
from torch import Tensor

from mmseg_semi.methods.cct.perturbations.draws import (
    ChannelFactor,
    ElementFactor,
    SpatialMask,
    seeded,
)


def draw_seeds(count: int, generator: torch.Generator) -> list[int]:
    """``count`` seeds from a CPU generator."""
    return torch.randint(2**62, (count,), generator=generator).tolist()


def feature_noise(
    count: int, generator: torch.Generator, uniform_range: float = 0.3
) -> ElementFactor:
    """F-Noise: z (1 + n), n uniform in [-range, range] for each channel and cell, one draw for all images of the batch."""

    def factor(z: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(1, *z.shape[1:], generator=generator, device=z.device, dtype=z.dtype)
        return noise.mul_(2 * uniform_range).add_(1 - uniform_range)

    return ElementFactor(draw_seeds(count, generator), factor)


def feature_drop(
    z: Tensor,
    count: int,
    generator: torch.Generator,
    low: float = 0.7,
    high: float = 0.9,
) -> SpatialMask:
    """F-Drop: the most active cells become 0.

    A cell is kept where the mean of its channels is below gamma times the largest such mean of its image; one gamma, uniform
    in [low, high], a decoder. An image of zeros is dropped entirely.

    Args:
        z: (N, C, h, w).
    """
    gamma = low + (high - low) * torch.rand(count, generator=generator)
    return drop_active(z, gamma.to(z.device, non_blocking=True))


@torch.no_grad()
def drop_active(z: Tensor, gamma: Tensor) -> SpatialMask:
    """:func:`feature_drop` with given gamma, (K,)."""
    activity = z.mean(dim=1, keepdim=True, dtype=torch.promote_types(z.dtype, torch.float32))
    largest = activity.amax(dim=(2, 3), keepdim=True)
    return SpatialMask(activity < gamma.to(largest.dtype)[:, None, None] * largest)


def channel_dropout(
    z: Tensor, count: int, generator: torch.Generator, p: float = 0.5
) -> ChannelFactor:
    """DropOut: each channel of each image becomes 0 with probability p, the others are divided by 1 - p."""
    draw = seeded(draw_seeds(1, generator)[0], z.device)
    kept = torch.rand(len(z), count, z.shape[1], generator=draw, device=z.device) >= p
    return ChannelFactor(kept.to(z.dtype) / (1 - p))


def element_dropout(count: int, generator: torch.Generator, p: float = 0.5) -> ElementFactor:
    """DropOut of single entries instead of channels."""

    def factor(z: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(z.shape, generator=generator, device=z.device) >= p
        return kept.to(z.dtype) / (1 - p)

    return ElementFactor(draw_seeds(count, generator), factor)
