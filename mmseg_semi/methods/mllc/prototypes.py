"""Class prototypes of MLLC, running means of the features of each class.

H. Xiao et al., IEEE Trans. Multimedia 26 (2024), https://arxiv.org/abs/2404.02065. The authors'
release lacks this module; shapes and momentum are those of its calls. See README.md.
"""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmseg_semi.errors import SetupError


def class_sums(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Sum the features of the nodes of each class, and count these nodes.

    Args:
        features: (B, D, h, w).
        labels: (B, h, w) int64; values outside of [0, num_classes) are no class.
        num_classes: Number of classes K.

    Returns:
        (K, D) sums, at least float32, and (K,) int64 counts.

    Example:
        >>> sums, counts = class_sums(torch.rand(2, 8, 5, 7), torch.randint(3, (2, 5, 7)), 3)
        >>> sums.shape, counts.sum().item()
        (torch.Size([3, 8]), 70)
    """
    labels = labels.flatten()
    labels = labels.where((labels >= 0) & (labels < num_classes), num_classes)
    rows = features.to(torch.promote_types(features.dtype, torch.float32))
    rows = rows.transpose(0, 1).flatten(1).T
    # nodes without a class must not matter, even if their features are inf or NaN
    rows = rows.masked_fill((labels == num_classes)[:, None], 0.0)
    # a product with the one-hot labels needs no atomic additions
    members = labels == torch.arange(num_classes, device=labels.device)[:, None]
    return members.to(rows.dtype) @ rows, members.sum(dim=1)


class PrototypeBank(nn.Module):
    """Hold a prototype of each class for each level of the graph rounds.

    With m_c the mean feature of class c in a step, its first update is Z_c <- m_c. Later updates
    are Z_c <- gamma Z_c + (1 - gamma) m_c.

    Args:
        levels: Number of banks, one per level.
        num_classes: Number of classes K.
        channels: Channels D of the features.
        momentum: Momentum gamma in [0, 1) (0.99).

    State:
        prototypes: (levels, K, D) float32, not normalised.
        counts: (levels, K) int64, number of updates; 0 for a class that was never seen.

    Raises:
        SetupError: If the momentum is out of range.

    Example:
        >>> bank = PrototypeBank(levels=2, num_classes=3, channels=8)
        >>> features, labels = torch.rand(2, 8, 5, 7), torch.randint(2, (2, 5, 7))
        >>> bank.update(0, *class_sums(features, labels, num_classes=3))
        >>> bank.counts
        tensor([[1, 1, 0],
                [0, 0, 0]])
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
        """Move the prototypes of the classes that have nodes on any rank; the others stay.

        Args:
            level: Index of the bank.
            sums: (K, D) sums of this rank's features, see :func:`class_sums`.
            counts: (K,) number of this rank's nodes.
        """
        # float64 holds counts and float32 sums exactly, so one transfer serves both
        both = torch.cat([sums.double(), counts[:, None].double()], dim=1)
        all_reduce(both)
        number = both[:, -1:]
        mean = (both[:, :-1] / number.clamp(min=1)).to(self.prototypes.dtype)
        old, seen = self.prototypes[level], self.counts[level]
        moved = torch.where((seen > 0)[:, None], old.lerp(mean, 1 - self.momentum), mean)
        present = number > 0
        old.copy_(torch.where(present, moved, old))
        seen.add_(present[:, 0])
