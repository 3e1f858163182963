"""Class activation maps over several scales and mirrored images, as in github.com/jiwoon-ahn/irn."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.data.transforms import resize_window
from mmseg_semi.errors import SetupError

SCALES = (1.0, 0.5, 1.5, 2.0)
STRIDE = 16
"""Pixels: maps are enlarged to multiples of this, then cropped to the image."""


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Raise SetupError if there is no scale, or one is not positive."""
    if not scales or min(scales) <= 0:
        raise SetupError(f'scales={list(scales)}: expected one or more positive factors')
    return tuple(scales)


@torch.no_grad()
def multi_scale_cams(
    model: torch.nn.Module,
    image: np.ndarray,
    present: Sequence[int],
    scales: Sequence[float] = SCALES,
) -> Tensor:
    """Compute normalised class activation maps of the classes that an image shows.

    For each scale the maps of the image and of its mirror image, mirrored back, are added. The maps
    of all scales are enlarged bilinearly to the image's size and added. Each map is divided by its
    maximum.

    Args:
        model: Module with ``cams`` and ``data_preprocessor``, in evaluation mode.
        image: (H, W, 3) uint8 BGR.
        present: Indices of the model's outputs to keep, P of them.
        scales: Factors of the image's size.

    Returns:
        (P, H, W) float32 in [0, 1).
    """
    height, width = image.shape[:2]
    device = next(model.parameters()).device
    if not len(present):
        return torch.zeros(0, height, width, device=device)
    full = [-(-side // STRIDE) * STRIDE for side in (height, width)]
    total = torch.zeros(1, len(present), *full, device=device)
    for scale in check_scales(scales):
        size = tuple(max(round(side * scale), 1) for side in (width, height))
        pixels = torch.from_numpy(resize_window(image, size, (0, 0, *size), 'bicubic').copy())
        pixels = pixels.permute(2, 0, 1)
        inputs = model.data_preprocessor({'inputs': [pixels, pixels.flip(-1)]}, False)['inputs']
        straight, mirrored = model.cams(inputs)[:, list(present)].float()
        both = straight + mirrored.flip(-1)
        total += F.interpolate(both[None], full, mode='bilinear', align_corners=False)
    total = total[0, :, :height, :width]
    return total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)
