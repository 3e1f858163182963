"""What batch norms remember of the images they normalise."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Within it, a pass in training mode normalises by its batch and leaves the running statistics as they are.

    Args:
        module: Its running means, variances and counts of batches stay; the momentum is 0 meanwhile.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm2d(3)
        >>> with statistics_kept(norm):
        ...     y = norm(5 + torch.randn(2, 3, 4, 4))
        >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
        ([0.0, 0.0, 0.0], 0)
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            # counts on a copy: without a count SyncBatchNorm refuses to train
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches
