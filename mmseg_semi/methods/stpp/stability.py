"""How reliable the prediction of an image is: its agreement with the predictions of earlier checkpoints (ST++)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmseg_semi.labels import IGNORE


def confusion_matrix(first: Tensor, second: Tensor, num_classes: int) -> Tensor:
    """Counts the pixels of each pair of classes in two label maps; pixels that either map ignores are left out.

    Args:
        first: (H, W) integers in [0, K) or IGNORE.
        second: The same, of equal size.
        num_classes: K.

    Returns:
        (K, K) int64, rows by the class in ``first``.

    Example:
        >>> first, second = torch.tensor([[0, 0, 1, 255]]), torch.tensor([[0, 1, 1, 1]])
        >>> confusion_matrix(first, second, 2).tolist()
        [[1, 1], [0, 1]]
    """
    known = (first != IGNORE) & (second != IGNORE)
    pairs = first[known].long() * num_classes + second[known].long()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def mean_iou(confusion: Tensor) -> float:
    """Mean intersection over union of the classes that occur in either map.

    Args:
        confusion: (K, K), see :func:`confusion_matrix`.

    Returns:
        In [0, 1]; 0 if no pixel was compared, so that such an image is the least reliable.

    Example:
        >>> mean_iou(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))  # two classes, 1/2 each
        0.5
    """
    hits = confusion.diag().double()
    union = confusion.sum(0) + confusion.sum(1) - hits
    occurs = union > 0
    return float((hits[occurs] / union[occurs]).mean()) if occurs.any() else 0.0


def stability_score(predictions: Sequence[Tensor], num_classes: int) -> float:
    """Mean over the earlier predictions of an image of their mIoU with the last one (arXiv 2106.05095, selective re-training).

    The paper adds the mIoUs up, its code divides by their number as this function does; the order of images is the same.

    Args:
        predictions: Two or more (H, W) label maps, in the order of the checkpoints.
        num_classes: K.

    Returns:
        In [0, 1]; 1 if all checkpoints predict the same.

    Example:
        >>> last = torch.tensor([[0, 0, 1, 1]])
        >>> stability_score([last, last.flip(1), last], num_classes=2)  # mIoU 1 and 0
        0.5
    """
    *earlier, last = predictions
    scores = [mean_iou(confusion_matrix(one, last, num_classes)) for one in earlier]
    return math.fsum(scores) / len(scores)


def most_stable(scores: Mapping[str, float], share: float = 0.5) -> tuple[list[str], list[str]]:
    """Splits images by their stability.

    Args:
        scores: Stability score by the image's name.
        share: Share of the images that are reliable, in (0, 1); their number is rounded down (the paper: half).

    Returns:
        Names of the reliable images and of the remaining ones, the most stable first; equal scores keep the order of
        ``scores``.

    Example:
        >>> most_stable(dict(a=0.2, b=0.9, c=0.5))
        (['b'], ['c', 'a'])
    """
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    count = int(len(ranked) * share)
    return ranked[:count], ranked[count:]
