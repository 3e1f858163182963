"""Masks of unlabelled images that stand in files: pseudo-masks of an earlier training, or weak masks from elsewhere.

They reach the objectives as ``UnlabeledBatch.noisy_u``. True masks of unlabelled images are never read.
"""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dist import get_dist_info
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_semi.data.checks import header_size
from mmseg_semi.data.decoding import read_labels, to_class_indices
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file


@TRANSFORMS.register_module()
class LoadPseudoMask(BaseTransform):
    """Load the pseudo-mask of an unlabelled image, which ``tools/selective_retraining.py`` wrote.

    Put it behind ``LoadImage`` in the pipeline of an unlabelled source; later transforms move the
    mask with the image. Values of a mask are class indices, or 255 for ignored pixels.

    Reads: ``img_path``; ``img``, for the comparison of sizes.

    Writes: ``gt_given_map`` (H, W) uint8; its name is appended to ``seg_fields``. Nothing without
    ``masks``.

    Args:
        masks: Folder of the masks. None leaves images without a mask, so that a config whose
            pseudo-masks do not exist yet can be looked at. Defaults to None.
        num_classes: Labels must be 0 .. num_classes - 1 or 255.
        images: Folder that the names of masks are relative to: the mask of IMAGES/a/b.jpg is
            MASKS/a/b.png. None: all masks lie in one folder, under the image's file name. Defaults
            to None.
        suffix: Ending of the masks. Defaults to '.png'.

    Raises:
        SetupError: If a mask is missing or has another size than its image (both found before
            training), or holds another value.

    Example:
        >>> load = LoadPseudoMask('masks', 11, images='data/images')
        >>> load.mask_path('data/images/a/b.jpg')
        'masks/a/b.png'
    """

    kind = 'pseudo-mask'
    """What errors call a mask."""
    writer = 'mmseg-semi selective-retraining CONFIG'
    """The command that writes masks."""

    def __init__(
        self,
        masks: str | None = None,
        num_classes: int = 0,
        images: str | None = None,
        suffix: str = '.png',
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
        if self.masks is None:  # the objective that learns masks refuses it
            return
        name = type(self).__name__
        if not osp.isdir(self.masks):
            raise SetupError(
                f'{key}.pipeline: folder {self.masks} of {name} does not exist; write the masks '
                f'({self.writer}), or name the folder that holds them'
            )
        listed: dict[str, set[str]] = {}
        missing, count = None, 0
        for path in paths:
            folder, file = osp.split(self.mask_path(path))
            if folder not in listed:
                listed[folder] = set(os.listdir(folder)) if osp.isdir(folder) else set()
            if file not in listed[folder]:
                missing, count = missing or (path, osp.join(folder, file)), count + 1
        if missing:
            raise SetupError(
                f'{key}: image {missing[0]} has no {self.kind} {missing[1]} ({count} of {len(paths)} are missing); write '
                f'them ({self.writer}, which goes on where it was stopped), or put such images into an unlabelled '
                f'source without {name}'
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
                self._compare(mask, found, image, wanted)

    def transform(self, results: dict) -> dict:
        """Add ``gt_given_map`` (H, W) uint8 to ``seg_fields``."""
        if self.masks is None:
            return results
        path = self.mask_path(results['img_path'])
        labels = to_class_indices(read_labels(path), self.num_classes, path)
        self._compare(path, labels.shape, results['img_path'], results['img'].shape[:2])
        results['gt_given_map'] = labels
        results.setdefault('seg_fields', []).append('gt_given_map')
        return results

    def _compare(self, mask: str, found: tuple, image: str, wanted: tuple) -> None:
        if found != wanted:
            raise SetupError(
                f'{self.kind} {mask} is {found[1]} x {found[0]} pixels, but its image {image} is {wanted[1]} x {wanted[0]}; '
                'make it anew from this image (orientation tags are applied), or name the folder that fits'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(masks={self.masks!r}, num_classes={self.num_classes})'


def _mask_size(path: str) -> tuple[int, int] | None:
    """(height, width) by the header, None if it cannot be read; no tag turns a mask."""
    try:
        with Image.open(path) as mask:
            return mask.height, mask.width
    except Exception:  # each format raises its own kinds
        return None


def save_mask(path: str | Path, labels: np.ndarray) -> None:
    """Write a mask as PNG, whole or not at all.

    Args:
        path: A PNG file; its folder is made.
        labels: (H, W) uint8.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), 'a', 'b.png')
        >>> save_mask(path, np.uint8([[0, 255]]))
        >>> read_labels(str(path)).tolist()
        [[0, 255]]
    """
    with whole_file(path, sync=False) as draft:
        Image.fromarray(labels).save(draft, format='PNG')
