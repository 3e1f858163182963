"""Colour jitter and blur of mixed images: the strong view of ClassMix and MLLC.

ClassMix: arXiv 2007.07936; MLLC: arXiv 2404.02065. Their code draws once per batch, after mixing,
and the jitter is that of their version of kornia: brightness is added, contrast multiplies,
saturation multiplies and hue turns in HSV; values are clipped to [0, 1] after each. That differs
from torchvision's jitter in :mod:`.images`. These functions change images only, never labels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.data.colour.hsv import hsv_to_rgb, rgb_to_hsv
from mmseg_semi.data.colour.operations import JITTER

OPERATIONS = JITTER
"""Names of the operations of :func:`colour_jitter`."""


def colour_jitter(images: Tensor, amounts: dict[str, Tensor], order: list[str]) -> Tensor:
    """Apply the operations of colour jitter in an order.

    Args:
        images: (N, 3, H, W) RGB in [0, 1].
        amounts: Operation -> (N,): brightness, added; contrast and saturation, factors; hue, in
            turns.
        order: Names of operations, in the order in which they are applied.

    Returns:
        Tensor: (N, 3, H, W) RGB in [0, 1].

    Example:
        >>> images = torch.full((1, 3, 1, 1), 0.25)
        >>> amounts = dict(brightness=torch.tensor([0.25]), contrast=torch.tensor([1.5]))
        >>> colour_jitter(images, amounts, ['brightness', 'contrast']).flatten().tolist()
        [0.75, 0.75, 0.75]
    """
    for name in order:
        amount = amounts[name].to(images).view(-1, 1, 1)
        if name == 'brightness':
            images = images + amount[:, None]
        elif name == 'contrast':
            images = images * amount[:, None]
        else:
            hue, saturation, value = rgb_to_hsv(images).unbind(dim=1)
            if name == 'saturation':
                saturation = (saturation * amount).clamp(0, 1)
            else:
                hue = (hue + amount) % 1
            images = hsv_to_rgb(torch.stack([hue, saturation, value], dim=1))
        images = images.clamp(0, 1)
    return images


def blur_kernel_size(side: int) -> int:
    """Kernel length of the blur: the largest odd integer <= ceil(side / 10).

    Args:
        side: Height or width of the images in pixels.

    Example:
        >>> [blur_kernel_size(side) for side in (256, 512, 321)]
        [25, 51, 33]
    """
    size = math.ceil(0.1 * side)
    return size - 1 + size % 2


def gaussian_blur(images: Tensor, sigma: float, sizes: tuple[int, int] | None = None) -> Tensor:
    """Blur by a separable Gaussian with reflected borders.

    Args:
        images: (N, C, H, W) float.
        sigma: Standard deviation in pixels.
        sizes: Odd kernel lengths down and across. Defaults to :func:`blur_kernel_size` of the
            sides.

    Returns:
        Tensor: (N, C, H, W).

    Example:
        >>> images = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 5)
        >>> [round(x, 2) for x in gaussian_blur(images, 1.0, (1, 3)).flatten().tolist()]
        [0.0, 0.27, 0.45, 0.27, 0.0]
    """
    sizes = sizes or tuple(map(blur_kernel_size, images.shape[2:]))
    channels = images.shape[1]
    for axis, size in enumerate(sizes):
        place = torch.arange(size, device=images.device, dtype=images.dtype) - size // 2
        kernel = (-place.square() / (2 * sigma**2)).exp()
        kernel = kernel / kernel.sum()
        border = [0, 0, size // 2, size // 2] if axis == 0 else [size // 2, size // 2, 0, 0]
        weight = kernel.view(1, 1, -1, 1) if axis == 0 else kernel.view(1, 1, 1, -1)
        padded = F.pad(images, border, mode='reflect')
        images = F.conv2d(padded, weight.expand(channels, 1, -1, -1), groups=channels)
    return images
