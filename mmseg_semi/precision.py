"""Precision of single computations inside automatic mixed precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast leaves operations on ``tensor``'s device alone.

    Densities, log-determinants and similarities sum many small terms, for which half precision has
    too few digits. Products may use TF32 where the user allows it; :func:`exact` forbids that.

    Args:
        tensor: Any tensor on the device in question; only its device is read.

    Example:
        >>> x = torch.randn(4, 4)
        >>> with torch.autocast('cpu', dtype=torch.bfloat16), full_precision(x):
        ...     (x @ x).dtype
        torch.float32
    """
    return torch.autocast(tensor.device.type, enabled=False)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Return a context without autocast and without TF32: products are float32 at least.

    Nearest neighbours need it, because rounded similarities choose other neighbours.

    Args:
        device: Device of the operations.

    Example:
        >>> with exact(torch.device('cpu')):
        ...     torch.get_float32_matmul_precision()
        'highest'
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
