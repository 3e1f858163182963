"""Tables of pixels: (C, n) positions, of which the first ones of each class count.

How many those are is known to the device alone, see :mod:`mmseg_semi.methods.dgcl.class_order`. What reads, ranks, draws and
shares rows by such tables is here. Methods: DGCL (X. Wang et al., CVPR 2023, doi 10.1109/CVPR52729.2023.00304) and U2PL
(arXiv 2203.03884).

Shapes: C classes, n places of a class, D channels.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_rank
from torch import Tensor

from mmseg_semi.host_reads import can_read
from mmseg_semi.labels import IGNORE


def at_size(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits at the size of the features: the same tensor, or nearest pixels of it if a head's logits are larger (CCTHead).

    Example:
        >>> at_size(torch.randn(1, 3, 8, 8), (4, 4)).shape
        torch.Size([1, 3, 4, 4])
    """
    return logits if logits.shape[2:] == size else F.interpolate(logits, tuple(size))


def take(rows: Callable[[Tensor], Tensor], table: Tensor, counts: Tensor | None = None) -> Tensor:
    """(C, n) positions -> (C, n, D) rows.

    Args:
        rows: Function that returns the (m, D) rows at (m,) positions.
        table: (C, n) int64.
        counts: (C,) int64, how many of a class's positions count, from the front; None: all. A CPU reads no others, and the
            result holds arbitrary numbers there. It then has no gradient.

    Example:
        >>> features = torch.randn(8, 5)
        >>> take(lambda index: features[index], torch.zeros(3, 4, dtype=torch.long)).shape
        torch.Size([3, 4, 5])
    """
    if counts is None or not can_read(counts):
        return rows(table.flatten()).unflatten(0, table.shape)
    inside = torch.arange(table.shape[1]) < counts[:, None]
    found = rows(table[inside]).detach()
    # what is not written below is not used
    result = found.new_empty(table.shape + found.shape[1:])
    result[inside] = found
    return result


def extremes(density: Tensor, counts: Tensor, count: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Places of at most ``count`` lowest or highest densities of each class.

    Args:
        density: (C, Q).
        counts: (C,) int64, how many of a class's densities count, from the front.
        count: Number of densities of a class.
        largest: Whether to take the highest ones.

    Returns:
        places: (C, min(count, Q)) int64.
        counts: (C,) int64.

    Example:
        >>> density = torch.tensor([[0.1, 0.3, 0.2]])
        >>> extremes(density, torch.tensor([3]), 2, largest=True)
        (tensor([[1, 2]]), tensor([2]))
    """
    inside = torch.arange(density.shape[1], device=density.device) < counts[:, None]
    end = -torch.inf if largest else torch.inf
    count = min(count, density.shape[1])
    places = density.where(inside, end).topk(count, dim=1, largest=largest).indices
    return places, counts.clamp(max=count)


def extreme_values(
    density: Tensor, counts: Tensor, count: int, largest: bool
) -> tuple[Tensor, Tensor]:
    """The densities of :func:`extremes`, and which of them count; (C, n) each.

    Example:
        >>> extreme_values(torch.tensor([[0.1, 0.3, 0.2]]), torch.tensor([1]), 2, largest=True)
        (tensor([[0.1000, 0.3000]]), tensor([[ True, False]]))
    """
    places, counts = extremes(density, counts, count, largest)
    inside = torch.arange(places.shape[1], device=places.device) < counts[:, None]
    return density.gather(1, places), inside


def draw_others(labels: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draws for each class at most ``count`` pixels of other classes, uniformly without replacement.

    Args:
        labels: (P,) int64, IGNORE for pixels without a class.
        classes: (C,) int64.
        count: Number of pixels of a class.

    Returns:
        index: (C, min(count, P)) int64.
        counts: (C,) int64, how many of them are of other classes, from the front.

    Example:
        >>> index, counts = draw_others(torch.tensor([0, 0, 1, 255]), torch.tensor([0]), count=2)
        >>> index[0, 0].item(), counts.item()
        (2, 1)
    """
    count = min(count, len(labels))
    other = (labels != classes[:, None]) & (labels != IGNORE)
    keys = torch.rand(other.shape, device=labels.device).masked_fill(~other, -1.0)
    return keys.topk(count, dim=1).indices, other.sum(dim=1).clamp(max=count)


def draw_over_ranks(
    keys: Tensor, rows: Sequence[Tensor], counts: Tensor, width: int
) -> tuple[list[Tensor], Tensor]:
    """The rows with the ``width`` smallest keys of each class among those of all ranks, equal on all of them.

    As every pixel's key is an independent uniform number, this is a uniform sample without replacement from all ranks'
    pixels. Only keys are gathered; each rank then adds its drawn rows to one sum of (K, width, C) zeros.

    Args:
        keys: (K, R) float64 of this rank, rising, R <= width.
        rows: Tensors (K, R, C), each with a C of its own.
        counts: (K,) int64, how many of a class's rows count, from the front.
        width: Rows of a class in the result.

    Returns:
        rows: (K, width, C) each.
        counts: (K,) int64.

    Example:
        >>> keys, rows = torch.rand(2, 3, dtype=torch.float64).sort().values, torch.randn(2, 3, 4)
        >>> (drawn,), counts = draw_over_ranks(keys, [rows], torch.tensor([3, 1]), width=5)
        >>> torch.equal(drawn[0, :3], rows[0]), counts.tolist()  # one rank
        (True, [3, 1])
    """
    classes, own = keys.shape
    inside = torch.arange(own, device=keys.device) < counts[:, None]
    # ranks with smaller crops have fewer candidates
    padded = keys.new_full((classes, width), torch.inf)
    padded[:, :own] = keys.where(inside, torch.inf)
    everyone = torch.stack(all_gather(padded), dim=1).flatten(1)  # K x (W R)
    slots = everyone.argsort(dim=1, stable=True).argsort(dim=1)
    mine = slots[:, get_rank() * width :][:, :own]
    mine = mine.where(inside & (mine < width), width)  # the rest lands in a column that is cut off

    counts = everyone.isfinite().sum(dim=1).clamp(max=width)
    exact = can_read(counts)
    if exact:  # only rows that are there are summed, one class after the other
        drawn = torch.arange(width) < counts[:, None]
        sent = mine < width
        at = (mine + (counts.cumsum(0) - counts)[:, None])[sent]

    def spread(x: Tensor) -> Tensor:
        if exact:
            total = x.new_zeros(int(counts.sum()), x.shape[2])
            total[at] = x[sent]
            if len(total):  # on all ranks or on none
                all_reduce(total)
            result = x.new_zeros(classes, width, x.shape[2])
            result[drawn] = total
            return result
        total = x.new_zeros(classes, width + 1, x.shape[2])
        total.scatter_(1, mine[..., None].expand(-1, -1, x.shape[2]), x)
        total = total[:, :width].contiguous()
        all_reduce(total)
        return total

    return [spread(x) for x in rows], counts
