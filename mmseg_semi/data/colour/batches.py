"""Colour jitter, greyscale and blur on a batch of images, wherever it lies.

The operations of :mod:`mmseg_semi.data.colour.images`, drawn there for every image, computed here for
all images of a batch that have the same one next. Levels are rounded after each operation as there.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.data.colour.images import Operation, box_kernel

_LUMA = (0.114, 0.587, 0.299)  # of blue, green, red: ITU-R 601-2


@torch.no_grad()
def apply_operations(images: Tensor, operations: Sequence[Sequence[Operation]]) -> Tensor:
    """Apply to every image its own sequence of operations.

    Args:
        images: (N, 3, H, W) uint8, BGR; left as it is.
        operations: For each of the N images (name, amount) in order, as
            :class:`~mmseg_semi.data.colour.images.DeferColour` draws them.

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
            todo: dict[str, list[tuple[int, float]]] = {}
            for row, steps in enumerate(operations):
                if place < len(steps):
                    todo.setdefault(steps[place][0], []).append((row, steps[place][1]))
            for name, jobs in todo.items():
                rows = torch.tensor([row for row, _ in jobs], device=images.device)
                amounts = torch.tensor([amount for _, amount in jobs], dtype=torch.float64)
                levels[rows] = _OPERATIONS[name](levels[rows], amounts)
    return levels.to(torch.uint8)


def _per_image(amounts: Tensor, x: Tensor) -> Tensor:
    return amounts.to(x).view(-1, 1, 1, 1)


def _luma(x: Tensor) -> Tensor:
    blue, green, red = _LUMA
    return blue * x[:, :1] + green * x[:, 1:2] + red * x[:, 2:]


def _brightness(x: Tensor, factors: Tensor) -> Tensor:
    return (_per_image(factors, x) * x).clamp(0, 255).floor()


def _contrast(x: Tensor, factors: Tensor) -> Tensor:
    mean = (_luma(x) + 0.5).floor().mean((1, 2, 3), keepdim=True).add(0.5).floor()
    return (mean + _per_image(factors, x) * (x - mean)).clamp(0, 255).floor()


def _saturation(x: Tensor, factors: Tensor) -> Tensor:
    factors = _per_image(factors, x)
    return ((1 - factors) * _luma(x) + factors * x - 0.5).round().clamp(0, 255)


def _hue(x: Tensor, turns: Tensor) -> Tensor:
    # a turn counts as 255 of 256 levels, fractions of a level are cut off
    shift = _per_image((turns * 255).trunc() / 256, x)[:, 0]
    blue, green, red = x.unbind(1)
    value, channel = x.max(1)
    span = value - x.amin(1)
    safe = span.clamp(min=1)  # of a grey pixel any hue will do
    sixths = torch.stack(
        [(red - green) / safe + 4, (blue - red) / safe + 2, (green - blue) / safe], 1
    )
    sixths = sixths.gather(1, channel[:, None])[:, 0] + 6 * shift
    # each channel is the value, less the span as far as its hue is away
    bgr = []
    for start in (1, 3, 5):
        place = (sixths + start) % 6
        bgr.append(value - span * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(bgr, 1).round()


def _grayscale(x: Tensor, _: Tensor) -> Tensor:
    return (_luma(x) + 0.5).floor().expand_as(x)


def _blur(x: Tensor, radii: Tensor) -> Tensor:
    kernels = [torch.from_numpy(box_kernel(radius)) for radius in radii.tolist()]
    half = max(len(kernel) for kernel in kernels) // 2
    weight = torch.stack([F.pad(k, [half - len(k) // 2] * 2) for k in kernels])
    weight = weight.to(x).repeat_interleave(3, 0)
    planes = x.reshape(1, -1, *x.shape[2:])  # every channel of every image has its own kernel
    for _ in range(3):
        padded = F.pad(planes, [half] * 4, mode='replicate')
        rows = F.conv2d(padded, weight[:, None, None, :], groups=planes.shape[1])
        planes = F.conv2d(rows, weight[:, None, :, None], groups=planes.shape[1]).round()
    return planes.view_as(x).clamp(0, 255)


_OPERATIONS = dict(
    brightness=_brightness,
    contrast=_contrast,
    saturation=_saturation,
    hue=_hue,
    grayscale=_grayscale,
    blur=_blur,
)
