"""Files of weak masks: load them beside images, score them against true masks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from mmseg.registry import TRANSFORMS

from mmseg_semi.data.transforms import LoadPseudoMask, save_mask
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

__all__ = ['LoadWeakMask', 'save_mask', 'score_masks']


@TRANSFORMS.register_module()
class LoadWeakMask(LoadPseudoMask):
    """Load the weak mask of an unlabelled image, from this project's tool or any other.

    Put it behind ``LoadImage`` in the pipeline of an unlabelled source; later transforms move the
    mask with the image. Values of a mask are class indices, or 255 for ignored pixels.

    Args:
        masks: Folder of the masks.
        num_classes: Labels must be 0 .. num_classes - 1 or 255.
        images: Folder that the names of masks are relative to: the mask of IMAGES/a/b.jpg is
            MASKS/a/b.png. None: all masks lie in one folder, under the image's file name. Defaults
            to None.
        suffix: Ending of the masks. Defaults to '.png'.

    Raises:
        SetupError: If a mask is missing or has another size than its image (both found before
            training), or holds another value.
    """

    kind = 'weak mask'
    writer = 'python projects/weak_labels/tools/make_masks.py'

    def __init__(
        self, masks: str, num_classes: int, images: str | None = None, suffix: str = '.png'
    ) -> None:
        super().__init__(masks, num_classes, images, suffix)


def score_masks(pairs: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> dict:
    """Score weak masks against true ones, in percent.

    Args:
        pairs: Pairs (weak, true) of masks of equal size, class indices or 255. Pixels whose true
            label is 255 do not count.
        num_classes: Number of classes K.

    Returns:
        ``covered``, the share of pixels that carry a weak label, and ``accuracy``, the share of
        those that are right. ``IoU`` (K,) counts a pixel without a weak label as missed;
        ``IoU_labeled`` (K,) counts labelled pixels only. Both are NaN for a class that neither mask
        has; ``mIoU`` and ``mIoU_labeled`` are their means. ``masks`` is the number of pairs.
    """
    counts = np.zeros((num_classes, num_classes + 1), np.int64)  # true x weak, unlabelled last
    number = 0
    for weak, true in pairs:
        if weak.shape != true.shape:
            raise SetupError(
                f'mask {number + 1}: {weak.shape[1]} x {weak.shape[0]} pixels, its truth has {true.shape[1]} x '
                f'{true.shape[0]}; both must have the same size'
            )
        valid = true != IGNORE
        weak = np.minimum(weak[valid].astype(np.int64), num_classes)
        flat = true[valid].astype(np.int64) * (num_classes + 1) + weak
        counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)
        number += 1
    hits = counts[:, :-1].diagonal()
    labeled = counts[:, :-1]
    with np.errstate(invalid='ignore', divide='ignore'):
        iou = 100 * hits / (counts.sum(1) + labeled.sum(0) - hits)
        iou_labeled = 100 * hits / (labeled.sum(1) + labeled.sum(0) - hits)
        accuracy = 100 * hits.sum() / labeled.sum()
        covered = 100 * labeled.sum() / counts.sum()
    return dict(
        masks=number,
        covered=float(covered),
        accuracy=float(accuracy),
        mIoU=_mean(iou),
        mIoU_labeled=_mean(iou_labeled),
        IoU=iou.tolist(),
        IoU_labeled=iou_labeled.tolist(),
    )


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float('nan')
