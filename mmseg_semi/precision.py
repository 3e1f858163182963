"""Precision of single computations inside automatic mixed precision."""

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast leaves operations on ``tensor``'s device alone.

    Densities, log-determinants and similarities sum many small terms, for which half precision has
    too few digits.

    Args:
        tensor: Any tensor on the device in question; only its device is read.

    Example:
        >>> x = torch.randn(4, 4)
        >>> with torch.autocast('cpu', dtype=torch.bfloat16), full_precision(x):
        ...     (x @ x).dtype
        torch.float32
    """
    return torch.autocast(tensor.device.type, enabled=False)
