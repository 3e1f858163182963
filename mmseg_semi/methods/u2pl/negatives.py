"""Which pixels are negatives of which classes, and the queues that keep them.

U2PL (Y. Wang et al., CVPR 2022, https://arxiv.org/abs/2203.03884, Eqs. 12 to 15; behaviour checked
against https://github.com/Haochen-Wang409/U2PL, ab3d2be): a pixel whose pseudo-label is unreliable can still
say which classes it is not. Its classes are ranked by the teacher's probabilities, the most probable one has rank 0.

- An unlabelled pixel with one of the highest entropies is a negative of the classes of rank
  [low_rank, high_rank): neither those it may be, nor those so improbable that there is nothing to learn.
- A labelled pixel is a negative of the classes of rank [0, low_rank) that are not its label: those the
  teacher may take it for.

Shapes: K classes, P pixels, R new rows of a class a step, D channels.
"""

from collections.abc import Callable, Mapping

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.dgcl import draw_over_ranks, take
from mmseg_semi.methods.u2pl.class_queue import ClassQueue
from mmseg_semi.step.pseudo_labels import build_percentage, entropy, masked_quantile


def class_ranks(logits: Tensor) -> Tensor:
    """Rank the classes of each pixel by their scores, 0 for the highest; among equal ones the lower class first.

    Args:
        logits: (N, K, h, w).

    Returns:
        (N, K, h, w) int64 in [0, K).

    Example:
        >>> class_ranks(torch.tensor([0.1, 0.7, 0.2]).view(1, 3, 1, 1)).flatten().tolist()
        [2, 0, 1]
    """
    return logits.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def negative_classes(
    labels_l: Tensor,
    logits_l: Tensor,
    logits_u: Tensor,
    valid_u: Tensor,
    unreliable: float,
    low_rank: int = 3,
    high_rank: int = 20,
) -> tuple[Tensor, Tensor]:
    """Say of which classes each pixel is a negative.

    Args:
        labels_l: (N_l, h, w) int64, IGNORE for void pixels, which are no negatives.
        logits_l: (N_l, K, h, w), the teacher's scores of labelled images.
        logits_u: (N_u, K, h, w), those of unlabelled images.
        valid_u: (N_u, h, w) bool, False in padding.
        unreliable: Percentage in [0, 100] of the unlabelled pixels, those of the highest entropy, that are negatives.
        low_rank: The number of most probable classes that a pixel may be (3).
        high_rank: Classes of this rank and above are too improbable to learn from (20).

    Returns:
        labeled: (N_l, K, h, w) bool.
        unlabeled: (N_u, K, h, w) bool.

    Example:
        >>> logits = torch.tensor([3.0, 2.0, 1.0, 0.0]).view(1, 4, 1, 1)
        >>> labels, valid = torch.tensor([[[1]]]), torch.tensor([[[True]]])
        >>> masks = negative_classes(labels, logits, logits, valid, 100, low_rank=2, high_rank=3)
        >>> [mask.flatten().tolist() for mask in masks]
        [[True, False, False, False], [False, False, True, False]]
    """
    classes = torch.arange(logits_l.shape[1], device=logits_l.device)[:, None, None]
    labels_l = labels_l[:, None]
    labeled = (class_ranks(logits_l) < low_rank) & (labels_l != classes) & (labels_l != IGNORE)
    uncertainty = entropy(logits_u)
    bound = masked_quantile(uncertainty, valid_u, 1 - unreliable / 100)
    high = valid_u & (uncertainty >= bound) & (unreliable > 0)
    ranks = class_ranks(logits_u)
    return labeled, (ranks >= low_rank) & (ranks < high_rank) & high[:, None]


def draw_allowed(allowed: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw at most ``count`` pixels of each class, uniformly without replacement.

    Args:
        allowed: (K, P) bool.
        count: Largest number of pixels of a class.

    Returns:
        keys: (K, R) float64 with R = min(count, P), ascending, the pixels' random numbers.
        index: (K, R) int64.
        counts: (K,) int64, number of a class's pixels that count, from the front.

    Example:
        >>> keys, index, counts = draw_allowed(torch.tensor([[False, True], [False, False]]), 2)
        >>> index[0, 0].item(), counts.tolist()
        (1, [1, 0])
    """
    keys = torch.rand(allowed.shape, device=allowed.device, dtype=torch.float64)
    keys, index = keys.masked_fill(~allowed, 2.0).topk(
        min(count, allowed.shape[1]), dim=1, largest=False
    )
    return keys, index, allowed.sum(dim=1).clamp(max=count)


class UnreliableNegatives(nn.Module):
    """Queues of negatives, filled in every step with a sample of the step's pixels.

    Args:
        num_classes: Number of classes K.
        channels: Channels D of a row.
        unreliable: Percentage of the unlabelled pixels that are negatives, a number or a schedule (20 falling to 0).
        low_rank, high_rank: See :func:`negative_classes`.
        keys_per_step: Largest number of new rows of a class a step, over all ranks (1,000). The authors' code keeps all, about
            as many as a queue holds; this bounds what is gathered and sent.
        size, sizes, dtype: Of :class:`ClassQueue`.
        key: Config key, named in errors.

    State: ``queue``.

    Raises:
        SetupError: If ranks do not fit the classes, or a step would overwrite a queue.

    Example:
        >>> negatives = UnreliableNegatives(5, channels=4, size=100, keys_per_step=10)
        >>> maps, labels = torch.randn(2, 5, 8, 8), torch.randint(0, 5, (2, 8, 8))
        >>> rows = lambda index: torch.randn(len(index), 4)
        >>> negatives.keep(rows, labels, maps, maps, labels < 9, time=0)
        >>> negatives.push(); negatives.queue.counts.tolist()
        [10, 10, 10, 10, 10]
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        unreliable: float | dict = 20.0,
        low_rank: int = 3,
        high_rank: int = 20,
        keys_per_step: int = 1000,
        size: int = 30_000,
        sizes: Mapping[int, int] | None = None,
        dtype: str = 'float32',
        key: str = 'u2pl',
    ) -> None:
        super().__init__()
        if not 1 <= low_rank < min(high_rank, num_classes):
            raise SetupError(
                f'{key}: low_rank={low_rank}, high_rank={high_rank} with {num_classes} classes; expected 1 <= low_rank < '
                'high_rank, and low_rank below the number of classes, because otherwise no unlabelled pixel is a negative'
            )
        if keys_per_step < 1:
            raise SetupError(f'{key}: keys_per_step={keys_per_step}; expected a number >= 1')
        self.unreliable = build_percentage(unreliable, f'{key}.unreliable')
        self.low_rank, self.high_rank, self.keys_per_step = low_rank, high_rank, keys_per_step
        self.queue = ClassQueue(num_classes, channels, size, sizes, dtype)
        if keys_per_step > self.queue.smallest:
            raise SetupError(
                f'{key}: keys_per_step={keys_per_step}, but the smallest queue has {self.queue.smallest} rows; expected no '
                'more new rows than a queue holds'
            )
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    @torch.no_grad()
    def keep(
        self,
        rows: Callable[[Tensor], Tensor],
        labels_l: Tensor,
        logits_l: Tensor,
        logits_u: Tensor,
        valid_u: Tensor,
        time: float,
    ) -> None:
        """Draw this step's new rows, bounded and detached; :meth:`push` adds them.

        Args:
            rows: Function that returns the (n, D) rows at (n,) positions, labelled pixels before unlabelled ones.
            labels_l, logits_l, logits_u, valid_u: See :func:`negative_classes`.
            time: In ``model.iters_per_epoch``.
        """
        masks = negative_classes(
            labels_l,
            logits_l,
            logits_u,
            valid_u,
            self.unreliable(time),
            self.low_rank,
            self.high_rank,
        )
        allowed = torch.cat([mask.transpose(0, 1).flatten(1) for mask in masks], dim=1)
        keys, index, counts = draw_allowed(allowed, self.keys_per_step)
        self._kept = keys, take(rows, index, counts), counts

    @torch.no_grad()
    def push(self) -> None:
        """Add the rows of :meth:`keep` to the queues, of several ranks a sample that is equal on all of them."""
        if self._kept is None:
            return
        (keys, rows, counts), self._kept = self._kept, None
        if get_world_size() > 1:
            (rows,), counts = draw_over_ranks(keys, [rows], counts, self.keys_per_step)
        self.queue.push(rows, counts)
