"""Files of weak masks: write them, load them beside images, score them against true masks."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dist import get_dist_info
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_semi.data.checks import header_size
from mmseg_semi.data.transforms import read_labels, to_class_indices
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file
from mmseg_semi.labels import IGNORE


@TRANSFORMS.register_module()
class LoadWeakMask(BaseTransform):
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

    def __init__(
        self, masks: str, num_classes: int, images: str | None = None, suffix: str = '.png'
    ) -> None:
        self.masks, self.num_classes, self.images, self.suffix = masks, num_classes, images, suffix

    def mask_path(self, img_path: str) -> str:
        """Path of an image's mask."""
        name = osp.relpath(img_path, self.images) if self.images else osp.basename(img_path)
        return osp.join(self.masks, osp.splitext(name)[0] + self.suffix)

    def check_paths(self, paths: Sequence[str], key: str) -> None:
        """Refuse images without a mask, or with one of another size, before training.

        Every folder is listed once.
        """
        if not osp.isdir(self.masks):
            raise SetupError(
                f'{key}.pipeline: folder {self.masks} of LoadWeakMask does not exist; write the masks (python '
                'projects/weak_labels/tools/make_masks.py), or name the folder that holds them'
            )
        listed: dict[str, set[str]] = {}
        missing, count = None, 0
        for path in paths:
            folder, name = osp.split(self.mask_path(path))
            if folder not in listed:
                listed[folder] = set(os.listdir(folder)) if osp.isdir(folder) else set()
            if name not in listed[folder]:
                missing, count = missing or (path, osp.join(folder, name)), count + 1
        if missing:
            raise SetupError(
                f'{key}: image {missing[0]} has no weak mask {missing[1]} ({count} of {len(paths)} are missing); write '
                'them (the command of make_masks.py goes on where it was stopped), or put such images into an unlabelled '
                'source without LoadWeakMask'
            )
        self._check_sizes(paths)

    def _check_sizes(self, paths: Sequence[str]) -> None:
        """Compare sizes by the headers of the files.

        Sizes without a readable header, as of images in shards, are compared when a mask is read.
        Ranks share the work: each reads its part, and any of them stops the run.
        """
        rank, world_size = get_dist_info()
        for i in range(rank, len(paths), world_size):
            image, mask = paths[i], self.mask_path(paths[i])
            found, wanted = _mask_size(mask), header_size(image)
            if found is None or wanted is None:
                continue
            # the tag that turns a PNG may stand behind its pixels
            if found != wanted[::-1] or not image.lower().endswith('.png'):
                _compare(mask, found, image, wanted)

    def transform(self, results: dict) -> dict:
        """Add ``gt_given_map`` (H, W) uint8 to ``seg_fields``."""
        path = self.mask_path(results['img_path'])
        labels = to_class_indices(read_labels(path), self.num_classes, path)
        _compare(path, labels.shape, results['img_path'], results['img'].shape[:2])
        results['gt_given_map'] = labels
        results.setdefault('seg_fields', []).append('gt_given_map')
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(masks='{self.masks}', num_classes={self.num_classes})"


def _mask_size(path: str) -> tuple[int, int] | None:
    """(height, width) by the header, None if it cannot be read; no tag turns a mask."""
    try:
        with Image.open(path) as mask:
            return mask.height, mask.width
    except Exception:  # each format raises its own kinds
        return None


def _compare(mask: str, found: tuple, image: str, wanted: tuple) -> None:
    if found != wanted:
        raise SetupError(
            f'weak mask {mask} is {found[1]} x {found[0]} pixels, but its image {image} is {wanted[1]} x {wanted[0]}; '
            'make it anew from this image (orientation tags are applied), or name the folder that fits'
        )


def save_mask(path: str | Path, labels: np.ndarray) -> None:
    """Write a mask atomically.

    Args:
        path: A PNG file; its folder is made.
        labels: (H, W) uint8.
    """
    with whole_file(path, sync=False) as draft:
        Image.fromarray(labels).save(draft, format='PNG')


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
