"""Random samples of each class's pixels, without a read from the device.

DGCL (X. Wang et al., CVPR 2023, doi 10.1109/CVPR52729.2023.00304) draws anchors' candidates and new
rows of its memory banks uniformly from the pixels of each class. How many pixels a class has is
known to the device alone. So a sample is a table of fixed width, (K, n), with counts (K,), of which
the first entries of each row count.

Shapes: P pixels, K classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ClassOrder(NamedTuple):
    """Pixels sorted by class, in random order within a class."""

    order: Tensor
    """(P,) int64 pixel positions, class 0 first, pixels without a class last."""
    keys: Tensor
    """(P,) float64, the pixels' random numbers in [0, 1), ascending within a class."""
    starts: Tensor
    """(K,) int64, position in ``order`` where a class begins."""
    counts: Tensor
    """(K,) int64, number of pixels of a class."""

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """Sample at most ``count`` pixels of each class, uniformly without replacement.

        Returns:
            places: (K, min(count, P)) int64 positions in ``order``. Those after a class's count
                are arbitrary.
            counts: (K,) int64, number of places of a class that count, from the front.
        """
        width = min(count, len(self.order))
        places = self.starts[:, None] + torch.arange(width, device=self.order.device)
        return places.clamp(max=len(self.order) - 1), self.counts.clamp(max=width)


def order_by_class(labels: Tensor, num_classes: int) -> ClassOrder:
    """Sort pixels by class and shuffle them within each class.

    Args:
        labels: Integers of any shape; values outside of [0, num_classes) mean no class.
        num_classes: Number of classes K.

    Returns:
        The order, with one entry per pixel.

    Example:
        >>> labels = torch.tensor([[0, 2, 0], [255, 2, 2]])
        >>> pixels = order_by_class(labels, num_classes=3)
        >>> labels.flatten()[pixels.order].tolist(), pixels.counts.tolist()
        ([0, 0, 2, 2, 2, 255], [2, 0, 3])
    """
    labels = labels.flatten().long()
    labels = labels.where((labels >= 0) & (labels < num_classes), num_classes)
    keys = torch.rand(labels.shape, device=labels.device, dtype=torch.float64)
    shuffled = keys.argsort()
    order = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.zeros(num_classes + 1, device=labels.device, dtype=torch.int64)
    counts.scatter_add_(0, labels, torch.ones_like(labels))
    return ClassOrder(order, keys[order], (counts.cumsum(0) - counts)[:-1], counts[:-1])
