"""A running mean feature for every class."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmseg_semi.errors import SetupError


def class_sums(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Sum and number of the nodes of every class.

    Args:
        features: (B, D, h, w).
        labels: (B, h, w) int64; values outside of [0, num_classes) are no class.
        num_classes: K.

    Returns:
        (K, D), at least float32, and (K,) int64.
    """
    labels = labels.flatten()
    labels = labels.where((labels >= 0) & (labels < num_classes), num_classes)
    rows = features.to(torch.promote_types(features.dtype, torch.float32))
    rows = rows.transpose(0, 1).flatten(1).T
    # what is at nodes without a class must not matter, inf and NaN included
    rows = rows.masked_fill((labels == num_classes)[:, None], 0.0)
    # a product with the one-hot labels, for which a device needs no atomic additions
    own = labels == torch.arange(num_classes, device=labels.device)[:, None]
    return own.to(rows.dtype) @ rows, own.sum(dim=1)


class PrototypeBank(nn.Module):
    """Z_c <- m_c at the first sight of class c, then gamma Z_c + (1 - gamma) m_c, with m_c the class's mean of the step.

    Args:
        levels: Number of banks.
        num_classes: K.
        channels: D.
        momentum: gamma, in [0, 1).

    State:
        prototypes: (levels, K, D) float32, of the length they have.
        counts: (levels, K) int64, updates so far; 0 where a class was never seen.

    Raises:
        SetupError: A momentum out of range.
    """

    def __init__(
        self, levels: int, num_classes: int, channels: int, momentum: float = 0.99
    ) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise SetupError(f'bank_momentum={momentum}: expected a number in [0, 1)')
        self.momentum = momentum
        self.register_buffer('prototypes', torch.zeros(levels, num_classes, channels))
        self.register_buffer('counts', torch.zeros(levels, num_classes, dtype=torch.int64))

    @torch.no_grad()
    def update(self, level: int, sums: Tensor, counts: Tensor) -> None:
        """Moves the prototypes of the classes that have nodes, over all ranks; the others stay.

        Args:
            level: Which bank.
            sums: (K, D), see :func:`class_sums`.
            counts: (K,).
        """
        # float64 holds sums and counts exactly: one transfer
        both = torch.cat([sums.double(), counts[:, None].double()], dim=1)
        all_reduce(both)
        number = both[:, -1:]
        mean = (both[:, :-1] / number.clamp(min=1)).to(self.prototypes.dtype)
        old, seen = self.prototypes[level], self.counts[level]
        moved = torch.where((seen > 0)[:, None], old.lerp(mean, 1 - self.momentum), mean)
        present = number > 0
        old.copy_(torch.where(present, moved, old))
        seen.add_(present[:, 0])
