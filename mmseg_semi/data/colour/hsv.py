"""The strong view of ClassMix (arXiv 2007.07936) and MLLC (arXiv 2404.02065): one draw a batch, after mixing.

Colour jitter as the authors' version of kornia defines it: brightness is added, contrast multiplies, saturation multiplies
and hue turns in HSV; values are cut to [0, 1] after each. Only images pass here, never labels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

OPERATIONS = ('brightness', 'contrast', 'saturation', 'hue')


def blur_kernel_size(side: int) -> int:
    """The largest odd integer <= ceil(side / 10): 25 for 256, 51 for 512, 33 for 321 pixels."""
    size = math.ceil(0.1 * side)
    return size - 1 + size % 2


def rgb_to_hsv(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> hue in turns [0, 1), saturation, value."""
    value, channel = images.max(dim=1)
    span = value - images.amin(dim=1)
    red, green, blue = images.unbind(dim=1)
    safe = span.where(span > 0, 1.0)  # of a grey pixel any hue will do
    sixths = torch.stack(
        [(green - blue) / safe, (blue - red) / safe + 2, (red - green) / safe + 4], dim=1
    )
    hue = (sixths.gather(1, channel[:, None])[:, 0] / 6) % 1
    saturation = span / value.where(value > 0, 1.0)
    return torch.stack([hue, saturation, value], dim=1)


def hsv_to_rgb(images: Tensor) -> Tensor:
    """The inverse of :func:`rgb_to_hsv`."""
    hue, saturation, value = images.unbind(dim=1)
    channels = []
    for start in (5, 3, 1):  # each channel is the value, less the span as far as its hue is away
        place = (start + 6 * hue) % 6
        channels.append(value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, dim=1)


def colour_jitter(images: Tensor, amounts: dict[str, Tensor], order: list[str]) -> Tensor:
    """Apply the operations in an order.

    Args:
        images: (N, 3, H, W) RGB in [0, 1].
        amounts: (N,) an operation: brightness, added; contrast and saturation, factors; hue, in turns.
        order: Names of operations.
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


def gaussian_blur(images: Tensor, sigma: float, sizes: tuple[int, int] | None = None) -> Tensor:
    """Separable Gaussian with reflected borders.

    Args:
        images: (N, C, H, W).
        sigma: In pixels.
        sizes: Odd kernel lengths down and across; default :func:`blur_kernel_size` of the sides.
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
