"""Pixels of feature maps: labels at their resolution, random samples, rows by position."""

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest-neighbour resize of (N, H, W) integer or bool maps, torch's 'nearest' grid: index floor(i H / h)."""
    return F.interpolate(maps[:, None].to(torch.float32), size=tuple(size), mode='nearest')[
        :, 0
    ].to(maps.dtype)


def draw_pixels(allowed: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most ``count`` True pixels, uniformly without replacement, without reading their number back.

    Returns:
        index: (M,) int64 flat positions, M = min(count, number of pixels).
        inside: (M,) bool; False for entries that had to be filled with pixels that are not allowed.
    """
    allowed = allowed.flatten()
    keys = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, -1.0)
    index = keys.topk(min(count, len(keys)), sorted=False).indices
    return index, allowed[index]


def rows_at(maps: Tensor, index: Tensor) -> Tensor:
    """Rows of an (N, C, h, w) map at flat pixel positions, (M, C), without permuting the map."""
    n, c, h, w = maps.shape
    return maps.flatten(2)[index // (h * w), :, index % (h * w)]
