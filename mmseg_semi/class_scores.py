"""Softmax and cross entropy over the classes of (N, K, H, W) maps, without copies of channels-last ones.

torch's softmax over a dimension other than the last one copies a channels-last map into a contiguous one. But the classes of a
pixel then lie side by side, so the same numbers are a softmax over the last dimension of the map's own memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def is_channels_last(maps: Tensor) -> bool:
    """Whether the channels of a pixel of (N, C, H, W) maps lie side by side in memory.

    Example:
        >>> is_channels_last(torch.zeros(1, 3, 4, 4)), is_channels_last(torch.zeros(1, 4, 4, 3).permute(0, 3, 1, 2))
        (False, True)
    """
    return maps.dim() == 4 and maps.is_contiguous(memory_format=torch.channels_last)


def softmax(logits: Tensor) -> Tensor:
    """Probabilities of the classes, (N, K, H, W), in the memory format of the logits.

    Example:
        >>> softmax(torch.zeros(1, 2, 1, 1)).flatten().tolist()
        [0.5, 0.5]
    """
    if is_channels_last(logits):
        return logits.permute(0, 2, 3, 1).softmax(dim=3).permute(0, 3, 1, 2)
    return logits.softmax(dim=1)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithms of the probabilities of the classes, (N, K, H, W), in the memory format of the logits.

    Example:
        >>> log_softmax(torch.zeros(1, 2, 1, 1)).exp().flatten().tolist()
        [0.5, 0.5]
    """
    if is_channels_last(logits):
        return logits.permute(0, 2, 3, 1).log_softmax(dim=3).permute(0, 3, 1, 2)
    return logits.log_softmax(dim=1)


def class_rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Channels-last logits as a row a pixel, with the labels in the same order; other logits as they are.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W).

    Returns:
        (N H W, K) and (N H W,), or the arguments.

    Example:
        >>> rows, labels = class_rows(torch.zeros(1, 4, 4, 3).permute(0, 3, 1, 2), torch.zeros(1, 4, 4))
        >>> rows.shape, labels.shape
        (torch.Size([16, 3]), torch.Size([16]))
    """
    if not is_channels_last(logits):
        return logits, labels
    return logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]), labels.reshape(-1)


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """As ``torch.nn.functional.cross_entropy``.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or ``ignore_index``.
        ignore_index: The label of pixels that have no loss.
        reduction: 'none' or 'sum'.

    Returns:
        (N, H, W), 0 where a pixel is ignored, or the 0-dim sum.

    Example:
        >>> logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]])
        >>> cross_entropy(logits, labels, 255, 'none')
        tensor([[[0.6931, 0.0000]]])
    """
    loss = F.cross_entropy(
        *class_rows(logits, labels), ignore_index=ignore_index, reduction=reduction
    )
    return loss.view(labels.shape) if reduction == 'none' else loss
