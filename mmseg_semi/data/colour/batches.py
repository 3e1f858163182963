"""Colour operations on a batch of images (PyTorch), on any device; the same as in :mod:`.images`.

Each image has its own sequence of operations and amounts. Images that have the same operation next
are computed together. Levels are rounded after each operation, as for one image, so that both ways
differ by rounding only.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.data.colour.hsv import join_hue, split_hue
from mmseg_semi.data.colour.operations import LUMA, Operation, box_kernel, hue_shift


@torch.no_grad()
def apply_operations(images: Tensor, operations: Sequence[Sequence[Operation]]) -> Tensor:
    """Apply to every image its own sequence of operations.

    Args:
        images: (N, 3, H, W) uint8, BGR; not changed.
        operations: For each of the N images (name, amount) in order, as :class:`.DeferColour` draws
            them.

    Returns:
        Tensor: (N, 3, H, W) uint8 on the same device.

    Example:
        >>> images = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
        >>> apply_operations(images, [[('brightness', 1.5)], []])[:, 0, 0, 0].tolist()
        [150, 100]
    """
    levels = images.float()
    # half precision has too few bits for 256 levels and their fractions
    with torch.autocast(images.device.type, enabled=False):
        for place in range(max(map(len, operations), default=0)):
            jobs: dict[str, list[tuple[int, float]]] = {}  # operation -> (image, amount)
            for image, steps in enumerate(operations):
                if place < len(steps):
                    name, amount = steps[place]
                    jobs.setdefault(name, []).append((image, amount))
            for name, pairs in jobs.items():
                chosen = torch.tensor([image for image, _ in pairs], device=images.device)
                amounts = torch.tensor([amount for _, amount in pairs], dtype=torch.float64)
                levels[chosen] = OPERATIONS[name](levels[chosen], amounts)
    return levels.to(torch.uint8)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the levels towards black (factor < 1) or away from it.

    Args:
        images: (N, 3, H, W) float BGR, whole levels of 0 to 255, as in all functions here.
        factors: (N,) float64, 0 or more.

    Returns:
        Tensor: (N, 3, H, W), whole levels again.

    Example:
        >>> images = torch.full((1, 3, 1, 1), 101.0)
        >>> adjust_brightness(images, torch.tensor([1.5])).flatten().tolist()
        [151.0, 151.0, 151.0]
    """
    return (_per_image(factors, images) * images).clamp(0, 255).floor()


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the levels towards the mean of the image's luma or away from it.

    Args:
        images: (N, 3, H, W).
        factors: (N,) float64, 0 or more.

    Example:
        >>> images = torch.tensor([0.0, 200.0]).expand(1, 3, 1, 2)
        >>> adjust_contrast(images, torch.tensor([0.5]))[0, 0].tolist()
        [[50.0, 150.0]]
    """
    mean = _rounded_luma(images).mean((1, 2, 3), keepdim=True).add(0.5).floor()
    return (mean + _per_image(factors, images) * (images - mean)).clamp(0, 255).floor()


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Scale every pixel towards its luma or away from it.

    Args:
        images: (N, 3, H, W).
        factors: (N,) float64, 0 or more.

    Example:
        >>> red = torch.tensor([0.0, 0.0, 200.0]).view(1, 3, 1, 1)
        >>> adjust_saturation(red, torch.tensor([0.5])).flatten().tolist()
        [29.0, 29.0, 129.0]
    """
    factors = _per_image(factors, images)
    return ((1 - factors) * _luma(images) + factors * images - 0.5).round().clamp(0, 255)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of every pixel.

    Args:
        images: (N, 3, H, W).
        turns: (N,) float64 in [-0.5, 0.5]; rounded by :func:`.hue_shift`.

    Example:
        >>> red = torch.tensor([0.0, 0.0, 255.0]).view(1, 3, 1, 1)
        >>> adjust_hue(red, torch.tensor([0.5])).flatten().tolist()
        [249.0, 255.0, 0.0]
    """
    shifts = torch.tensor([hue_shift(turn) for turn in turns.tolist()], dtype=torch.float64)
    sixths, value, span = split_hue(images, 'bgr')
    sixths = sixths + 6 * _per_image(shifts, images)[:, 0]
    return join_hue(sixths, value, span, 'bgr').round()


def to_grayscale(images: Tensor, amounts: Tensor) -> Tensor:
    """Replace the colours by their luma, in all three channels.

    Args:
        images: (N, 3, H, W).
        amounts: Without effect; all operations have amounts.

    Example:
        >>> red = torch.tensor([0.0, 0.0, 255.0]).view(1, 3, 1, 1)
        >>> to_grayscale(red, torch.ones(1)).flatten().tolist()
        [76.0, 76.0, 76.0]
    """
    return _rounded_luma(images).expand_as(images)


def gaussian_blur(images: Tensor, radii: Tensor) -> Tensor:
    """Blur as Pillow's Gaussian filter does: three box filters, edges repeated.

    Args:
        images: (N, 3, H, W).
        radii: (N,) float64, standard deviations in pixels.

    Example:
        >>> images = torch.tensor([0.0, 0.0, 240.0, 0.0, 0.0]).expand(1, 3, 1, 5)
        >>> gaussian_blur(images, torch.tensor([1.0]))[0, 0].tolist()
        [[15.0, 57.0, 98.0, 57.0, 15.0]]
    """
    kernels = [torch.from_numpy(box_kernel(radius)) for radius in radii.tolist()]
    half = max(len(kernel) for kernel in kernels) // 2
    weight = torch.stack([F.pad(k, [half - len(k) // 2] * 2) for k in kernels])
    weight = weight.to(images).repeat_interleave(3, 0)
    # every channel of every image has its own kernel
    planes = images.reshape(1, -1, *images.shape[2:])
    for _ in range(3):
        padded = F.pad(planes, [half] * 4, mode='replicate')
        across = F.conv2d(padded, weight[:, None, None, :], groups=planes.shape[1])
        planes = F.conv2d(across, weight[:, None, :, None], groups=planes.shape[1]).round()
    return planes.view_as(images).clamp(0, 255)


def _per_image(amounts: Tensor, images: Tensor) -> Tensor:
    return amounts.to(images).view(-1, 1, 1, 1)


def _luma(images: Tensor) -> Tensor:
    blue, green, red = LUMA
    return blue * images[:, :1] + green * images[:, 1:2] + red * images[:, 2:]


def _rounded_luma(images: Tensor) -> Tensor:
    return (_luma(images) + 0.5).floor()


OPERATIONS = dict(
    brightness=adjust_brightness,
    contrast=adjust_contrast,
    saturation=adjust_saturation,
    hue=adjust_hue,
    grayscale=to_grayscale,
    blur=gaussian_blur,
)
"""Name of an operation -> function of (images, amounts)."""
