"""The validation images with the highest and the lowest scores, drawn while they are validated."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmseg_semi.runtime.pages import encode
from mmseg_semi.runtime.pictures import paint_labels, shrink

SIDE = 320
"""Largest side of a drawn image, in pixels."""


class Gallery:
    """Keeps the best and the worst images of a validation.

    Args:
        count: Images of each kind.

    Example:
        >>> gallery = Gallery(count=1)
        >>> for name, score in (('a', 0.5), ('b', 0.9), ('c', 0.1)):
        ...     gallery.offer(name, score, dict)
        >>> [[entry['name'] for entry in kind] for kind in gallery.chosen()]
        [['b'], ['c']]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.entries: list[dict] = []

    def offer(self, name: str, score: float, draw: Callable[[], dict]) -> None:
        """Take an image if it is among the best or worst so far.

        Args:
            name: Its name, by which equal scores are ordered.
            score: Its mean IoU.
            draw: Makes its pictures, see :func:`shrink_case`.
        """
        entry = dict(name=name, score=score)
        keep = _ends([*self.entries, entry], self.count)
        if any(kept is entry for kept in keep):
            entry.update(draw())
            self.entries = keep

    def add(self, entries: Iterable[dict]) -> None:
        """Take the entries of another rank."""
        self.entries = _ends([*self.entries, *entries], self.count)

    def chosen(self) -> tuple[list[dict], list[dict]]:
        """The best images, best first, and the worst ones, worst first; no image is both."""
        ordered = sorted(self.entries, key=_order)
        count = min(self.count, max(1, len(ordered) // 2))
        best = ordered[::-1][:count]
        return best, ordered[: min(count, len(ordered) - len(best))]


def _order(entry: dict) -> tuple[float, str]:
    return entry['score'], entry['name']


def _ends(entries: Sequence[dict], count: int) -> list[dict]:
    ordered = sorted(entries, key=_order)
    return (
        ordered if len(ordered) <= 2 * count else ordered[:count] + ordered[len(ordered) - count :]
    )


def shrink_case(inputs: Tensor, sample: Any, is_bgr: bool) -> dict:
    """An image, its truth and its prediction at the size of the report.

    Args:
        inputs: (C, H, W) as the pipeline gives it.
        sample: A ``SegDataSample`` with ``gt_sem_seg`` and ``pred_sem_seg``.
        is_bgr: Whether the channels are blue, green, red.

    Returns:
        dict: 'image', (H, W, 3) uint8; 'truth' and 'prediction', (H, W) labels.
    """
    fields = dict(truth=sample.gt_sem_seg, prediction=sample.pred_sem_seg)
    small = {
        kind: shrink_labels(field.data.squeeze(0).cpu().numpy()) for kind, field in fields.items()
    }
    return dict(image=shrink(as_picture(inputs, is_bgr), SIDE), **small)


def render_case(entry: dict, palette: Sequence) -> dict:
    """The entry of a gallery with ``data:`` addresses in place of the arrays of :func:`shrink_case`."""
    return dict(
        entry,
        image=encode(entry['image']),
        truth=encode(paint_labels(entry['truth'], palette), 'PNG'),
        prediction=encode(paint_labels(entry['prediction'], palette), 'PNG'),
    )


def shrink_labels(labels: np.ndarray) -> np.ndarray:
    """(H, W) labels at most :data:`SIDE` pixels a side, each one of a pixel of the original."""
    height, width = labels.shape
    factor = min(1.0, SIDE / max(height, width))
    rows, columns = (
        ((np.arange(max(1, round(length * factor))) + 0.5) / factor).astype(int).clip(0, length - 1)
        for length in (height, width)
    )
    return labels[rows[:, None], columns]


def as_picture(inputs: Tensor, is_bgr: bool) -> np.ndarray:
    """An image of any number of channels and type as (H, W, 3) uint8 RGB: the first three channels, or the first one.

    Values that are not of 8 bits are stretched from their lowest to their highest.

    Args:
        inputs: (C, H, W).
        is_bgr: Whether the first three channels are blue, green, red.

    Example:
        >>> import torch
        >>> as_picture(torch.tensor([[[0.0, 2.0]]]), is_bgr=False).tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    picture = inputs.detach().cpu().numpy()
    picture = np.moveaxis(picture[:3] if len(picture) >= 3 else picture[[0, 0, 0]], 0, -1)
    if picture.dtype != np.uint8:
        picture = picture.astype(np.float64)
        known = picture[np.isfinite(picture)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        picture = np.nan_to_num((picture - low) / max(high - low, 1e-12), posinf=1, neginf=0)
        picture = np.rint(255 * picture).clip(0, 255).astype(np.uint8)
    return picture[..., ::-1] if is_bgr and len(inputs) >= 3 else picture


def short_name(path: str) -> str:
    """The last two parts of a path: names repeat in folders.

    Example:
        >>> short_name('/data/images/val/a.png'), short_name('a.png')
        ('val/a.png', 'a.png')
    """
    return '/'.join(Path(path).parts[-2:])
