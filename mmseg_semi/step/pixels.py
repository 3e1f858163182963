"""Pixels of feature maps: labels at their resolution, random samples, rows by position."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.class_scores import is_channels_last


def nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (N, H, W) integer or bool maps to the nearest pixel, on torch's 'nearest' grid: index floor(i H / h).

    Example:
        >>> nearest(torch.arange(4).view(1, 1, 4), (1, 2)).tolist()
        [[[0, 2]]]
    """
    return F.interpolate(maps[:, None].to(torch.float32), size=tuple(size), mode='nearest')[
        :, 0
    ].to(maps.dtype)


def draw_pixels(allowed: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draws at most ``count`` True pixels, uniformly without replacement, without reading their number back.

    Args:
        allowed: (N, h, w) bool.
        count: Largest number of pixels.

    Returns:
        index: (M,) int64 flat positions, M = min(count, number of pixels).
        inside: (M,) bool; False for entries that had to be filled with pixels that are not allowed.

    Example:
        >>> index, inside = draw_pixels(torch.tensor([[[False, True], [False, False]]]), count=2)
        >>> index[inside].tolist()
        [1]
    """
    allowed = allowed.flatten()
    keys = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, -1.0)
    index = keys.topk(min(count, len(keys)), sorted=False).indices
    return index, allowed[index]


def rows_at(maps: Tensor, index: Tensor) -> Tensor:
    """Rows of an (N, C, h, w) map at flat pixel positions, (M, C), without permuting the map.

    Example:
        >>> rows_at(torch.arange(8).view(1, 2, 2, 2), torch.tensor([0, 3])).tolist()
        [[0, 4], [3, 7]]
    """
    n, c, h, w = maps.shape
    if is_channels_last(maps):
        rows = maps.permute(0, 2, 3, 1).reshape(-1, c)  # the map's own memory, a row a pixel
        # indexing adds up the gradients of equal positions in an order that does not vary
        return rows[index] if maps.requires_grad else rows.index_select(0, index)
    return maps.flatten(2)[index // (h * w), :, index % (h * w)]


def rows_of(first: Tensor, second: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that reads rows of two (N, C, h, w) maps at (n,) flat positions, the second map's after the first's.

    It makes two gathers of bounded size: joining the maps would copy every feature of the step.

    Example:
        >>> first, second = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
        >>> rows_of(first, second)(torch.tensor([3, 4])).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    border = first.shape[0] * first.shape[2] * first.shape[3]

    def rows(index: Tensor) -> Tensor:
        mine = rows_at(first, index.clamp(max=border - 1))
        theirs = rows_at(second, (index - border).clamp(min=0))
        return torch.where((index < border)[:, None], mine, theirs)

    return rows
