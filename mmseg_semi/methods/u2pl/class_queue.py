"""A queue of recent features for every class, first in, first out.

The category-wise queues of U2PL: Y. Wang et al., "Semi-Supervised Semantic Segmentation Using
Unreliable Pseudo-Labels", CVPR 2022, https://arxiv.org/abs/2203.03884, section 3.3; behaviour checked
against https://github.com/Haochen-Wang409/U2PL (ab3d2be), whose queues are lists on the CPU that
every step copies.

Shapes: K classes, M_c rows of class c's queue, D channels.
"""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.host_reads import can_read


class ClassQueue(nn.Module):
    """Keep the newest features of every class.

    Args:
        num_classes: Number of classes K.
        channels: Channels D of a row.
        size: Rows of a class's queue (30,000).
        sizes: {class: rows}, of classes with another size (VOC: {0: 50,000}, the background).
        dtype: 'float32', or 'bfloat16' for half the memory.

    State:
        rows: (sum of M_c, D), the queues one after the other.
        counts: (K,) int64, number of filled rows, at the front of each queue.
        heads: (K,) int64, position of each queue's next row.

    Raises:
        SetupError: If a size is below 1, a class does not exist, or the dtype is unknown.

    Example:
        >>> queue = ClassQueue(2, channels=4, size=5, sizes={0: 3})
        >>> queue.push(torch.ones(2, 3, 4), torch.tensor([3, 1]))
        >>> queue.push(torch.zeros(2, 3, 4), torch.tensor([1, 1]))
        >>> queue.counts.tolist(), queue.rows[:, 0].tolist()
        ([3, 2], [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        size: int = 30_000,
        sizes: Mapping[int, int] | None = None,
        dtype: str = 'float32',
    ) -> None:
        super().__init__()
        sizes = {int(number): rows for number, rows in (sizes or {}).items()}
        unknown = [number for number in sizes if number not in range(num_classes)]
        if unknown:
            raise SetupError(
                f'queue: sizes={sizes} names class {unknown[0]}; expected classes from 0 to {num_classes - 1}'
            )
        if min([size, *sizes.values()]) < 1:
            raise SetupError(f'queue: size={size}, sizes={sizes}; expected numbers of rows >= 1')
        if dtype not in ('float32', 'bfloat16'):
            raise SetupError(f"queue: dtype='{dtype}': expected 'float32' or 'bfloat16'")
        of_class = [sizes.get(number, size) for number in range(num_classes)]
        self.smallest, total = min(of_class), sum(of_class)
        starts = [0, *itertools.accumulate(of_class)][:-1]
        self.register_buffer('sizes', torch.tensor(of_class), persistent=False)
        self.register_buffer('starts', torch.tensor(starts), persistent=False)
        self.register_buffer('rows', torch.zeros(total, channels, dtype=getattr(torch, dtype)))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer('heads', torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor, counts: Tensor) -> None:
        """Replace the oldest rows by new ones.

        Args:
            rows: (K, R, D) with R no larger than the smallest queue.
            counts: (K,) int64 in [0, R], number of a class's new rows that count, from the front.
                The rows after them are not used and may hold anything.
        """
        steps = torch.arange(rows.shape[1], device=rows.device)
        inside = steps < counts[:, None]
        # every place occurs once; on a device, a row that does not count writes back the old one
        places = self.starts[:, None] + (self.heads[:, None] + steps) % self.sizes[:, None]
        if can_read(counts):
            self.rows[places[inside]] = rows[inside].to(self.rows.dtype)
        else:
            old = self.rows[places]
            self.rows[places] = rows.to(old.dtype).where(inside[..., None], old)
        self.heads.copy_((self.heads + counts) % self.sizes)
        self.counts.copy_((self.counts + counts).minimum(self.sizes))

    @torch.no_grad()
    def places(self, number: int, count: int) -> Tensor:
        """Draw filled rows of one class, uniformly with replacement.

        Args:
            number: The class.
            count: Number of rows.

        Returns:
            (count,) int64 positions in ``rows``; arbitrary ones of the class if its queue is empty.
        """
        filled = self.counts[number]
        # float64: a queue's last row would be drawn too rarely from the coarse numbers of float32
        drawn = torch.rand(count, device=filled.device, dtype=torch.float64) * filled
        return self.starts[number] + drawn.long().minimum((filled - 1).clamp(min=0))
