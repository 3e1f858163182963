"""CCT's perturbations that need the features alone: F-Noise, F-Drop, DropOut.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005; behaviour checked against
https://github.com/yassouali/CCT (65d4e5b). Each function draws for K decoders at once and returns a
:class:`~mmseg_semi.methods.cct.perturbations.draws.Draw`. Draws on the host come from a CPU
generator; draws on the device come from a generator seeded by it.
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
    """Draw ``count`` seeds from a CPU generator."""
    return torch.randint(2**62, (count,), generator=generator).tolist()


def feature_noise(
    count: int, generator: torch.Generator, uniform_range: float = 0.3
) -> ElementFactor:
    """Draw F-Noise: multiply each channel and cell by 1 + n, with one n for all images.

    Args:
        count: Number of decoders K.
        generator: CPU generator.
        uniform_range: n is uniform in [-uniform_range, uniform_range] (0.3).

    Example:
        >>> noise = feature_noise(count=6, generator=torch.Generator())
        >>> z = noise.apply(torch.ones(2, 8, 5, 7), 0)  # for the first decoder
        >>> ((z >= 0.7) & (z <= 1.3)).all().item(), torch.equal(z[0], z[1])
        (True, True)
    """

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
    """Draw F-Drop: set the most active cells to 0.

    A cell stays if the mean of its channels is below gamma times the largest such mean of its
    image. Each decoder has one gamma, uniform in [low, high]. An image of zeros is dropped
    completely.

    Args:
        z: (N, C, h, w) features.
        count: Number of decoders K.
        generator: CPU generator.
        low, high: Range of gamma; 0.7 and 0.9 in the released code, 0.6 and 0.9 on the authors'
            poster.

    Example:
        >>> drop = feature_drop(torch.rand(2, 8, 5, 7), count=6, generator=torch.Generator())
        >>> drop.keep.shape, drop.keep.all().item()
        (torch.Size([2, 6, 5, 7]), False)
    """
    gamma = low + (high - low) * torch.rand(count, generator=generator)
    return drop_active(z, gamma.to(z.device, non_blocking=True))


@torch.no_grad()
def drop_active(z: Tensor, gamma: Tensor) -> SpatialMask:
    """Compute :func:`feature_drop` for known gamma.

    Args:
        z: (N, C, h, w) features.
        gamma: (K,), share of the largest activity from which a cell is dropped.

    Example:
        >>> z = torch.tensor([1.0, 3.0, 4.0]).view(1, 1, 1, 3)
        >>> drop_active(z, torch.tensor([0.7, 0.9])).keep.squeeze()
        tensor([[ True, False, False],
                [ True,  True, False]])
    """
    activity = z.mean(dim=1, keepdim=True, dtype=torch.promote_types(z.dtype, torch.float32))
    largest = activity.amax(dim=(2, 3), keepdim=True)
    return SpatialMask(activity < gamma.to(largest.dtype)[:, None, None] * largest)


def channel_dropout(
    z: Tensor, count: int, generator: torch.Generator, p: float = 0.5
) -> ChannelFactor:
    """Draw DropOut of channels: set each channel of each image to 0 with probability p.

    The other channels are divided by 1 - p.

    Args:
        z: (N, C, h, w) features.
        count: Number of decoders K.
        generator: CPU generator.
        p: Probability in [0, 1) (0.5).

    Example:
        >>> z = torch.ones(2, 64, 5, 7)
        >>> dropout = channel_dropout(z, count=6, generator=torch.Generator())
        >>> dropout.factor.shape, dropout.apply(z, 0).unique()
        (torch.Size([2, 6, 64]), tensor([0., 2.]))
    """
    draw = seeded(draw_seeds(1, generator)[0], z.device)
    kept = torch.rand(len(z), count, z.shape[1], generator=draw, device=z.device) >= p
    return ChannelFactor(kept.to(z.dtype) / (1 - p))


def element_dropout(count: int, generator: torch.Generator, p: float = 0.5) -> ElementFactor:
    """Draw DropOut of single entries instead of channels.

    Args:
        count: Number of decoders K.
        generator: CPU generator.
        p: Probability in [0, 1) (0.5).

    Example:
        >>> dropout = element_dropout(count=6, generator=torch.Generator())
        >>> dropout.apply(torch.ones(2, 64, 5, 7), 0).unique()
        tensor([0., 2.])
    """

    def factor(z: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(z.shape, generator=generator, device=z.device) >= p
        return kept.to(z.dtype) / (1 - p)

    return ElementFactor(draw_seeds(count, generator), factor)
