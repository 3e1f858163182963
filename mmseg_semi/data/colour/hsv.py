"""Hue, saturation and value of colour tensors, on any device.

The hue is counted in sixths of a turn: red lies at 0, green at 2, blue at 4. The span is the
difference of the largest and the smallest channel.
"""

import torch
from torch import Tensor

_PLACE = dict(r=0, g=2, b=4)  # of each channel's pure colour on the circle of hues


def split_hue(images: Tensor, channels: str = 'rgb') -> tuple[Tensor, Tensor, Tensor]:
    """Split colours into hue, value and span.

    Args:
        images: (N, 3, H, W), in [0, 1] or in [0, 255].
        channels: Order of the channels, 'rgb' or 'bgr'. Defaults to 'rgb'.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Each (N, H, W): hue in sixths of a turn, in [-1, 5]; value
        and span, in the unit of ``images``. The hue of a grey pixel is any.

    Example:
        >>> yellow_and_blue = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).view(1, 3, 1, 2)
        >>> [part.flatten().tolist() for part in split_hue(yellow_and_blue)]
        [[1.0, 4.0], [1.0, 1.0], [1.0, 1.0]]
    """
    value, channel = images.max(dim=1)
    span = value - images.amin(dim=1)
    safe = span.where(span > 0, 1.0)  # a grey pixel has span 0
    plane = dict(zip(channels, images.unbind(dim=1), strict=True))
    around = dict(
        r=(plane['g'] - plane['b']) / safe,
        g=(plane['b'] - plane['r']) / safe + _PLACE['g'],
        b=(plane['r'] - plane['g']) / safe + _PLACE['b'],
    )
    # the hue, read from the channel that is the largest
    sixths = torch.stack([around[name] for name in channels], dim=1)
    return sixths.gather(1, channel[:, None])[:, 0], value, span


def join_hue(sixths: Tensor, value: Tensor, span: Tensor, channels: str = 'rgb') -> Tensor:
    """Make colours of hue, value and span, the inverse of :func:`split_hue`.

    Args:
        sixths: (N, H, W), hue in sixths of a turn, any real number.
        value: (N, H, W).
        span: (N, H, W).
        channels: Order of the channels, 'rgb' or 'bgr'. Defaults to 'rgb'.

    Returns:
        Tensor: (N, 3, H, W), in the unit of ``value``.

    Example:
        >>> sixths, one = torch.tensor([[[1.0, 4.0]]]), torch.ones(1, 1, 2)
        >>> join_hue(sixths, one, one)[0, :, 0].tolist()
        [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    planes = []
    for name in channels:  # a channel falls from value to value - span as its hue moves away
        place = (5 - _PLACE[name] + sixths) % 6
        planes.append(value - span * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(planes, dim=1)


def rgb_to_hsv(images: Tensor) -> Tensor:
    """Convert RGB to HSV.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        Tensor: (N, 3, H, W): hue in turns, in [0, 1); saturation and value in [0, 1].

    Example:
        >>> rgb_to_hsv(torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1)).flatten().tolist()
        [0.5, 1.0, 1.0]
    """
    sixths, value, span = split_hue(images)
    saturation = span / value.where(value > 0, 1.0)
    return torch.stack([(sixths / 6) % 1, saturation, value], dim=1)


def hsv_to_rgb(images: Tensor) -> Tensor:
    """Convert HSV to RGB, the inverse of :func:`rgb_to_hsv`.

    Args:
        images: (N, 3, H, W): hue in turns, saturation and value in [0, 1].

    Returns:
        Tensor: (N, 3, H, W) in [0, 1].

    Example:
        >>> hsv_to_rgb(torch.tensor([0.5, 1.0, 1.0]).view(1, 3, 1, 1)).flatten().tolist()
        [0.0, 1.0, 1.0]
    """
    hue, saturation, value = images.unbind(dim=1)
    return join_hue(6 * hue, value, value * saturation)
