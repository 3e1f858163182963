"""Random Erasing: a box of an image becomes noise, and its pixels lose their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE


@TRANSFORMS.register_module()
class RandomErasing(BaseTransform):
    """Replace a box of an image by uniform noise; in all maps the box is ignored (arXiv 1708.04896).

    The defaults are what ST++ (arXiv 2106.05095) calls Cutout. The share of the box is uniform; its
    shape and its place are drawn together until it lies inside the image. (``CutOut`` of
    ``model.mixing`` erases a box of a batch on the device, by the mean colour.)

    Reads and changes: ``img`` (H, W, 3) uint8, and every map in ``seg_fields``, (H, W).

    Args:
        prob: Probability that the image is changed. Defaults to 0.5.
        area: Range of the share of the image, up to 0.8. Defaults to (0.02, 0.4).
        aspect: Range of height over width, in units of the image's own; it contains 1. Defaults to
            (0.3, 1 / 0.3).

    Raises:
        SetupError: If an argument is out of range.

    Example:
        >>> erase = RandomErasing(prob=1.0, area=(0.25, 0.25), aspect=(1, 1))
        >>> results = dict(img=np.zeros((8, 8, 3), np.uint8), seg_fields=['gt_seg_map'])
        >>> results['gt_seg_map'] = np.zeros((8, 8), np.uint8)
        >>> (erase.transform(results)['gt_seg_map'] == 255).sum().item()
        16
    """

    def __init__(
        self,
        prob: float = 0.5,
        area: Sequence[float] = (0.02, 0.4),
        aspect: Sequence[float] = (0.3, 1 / 0.3),
    ) -> None:
        if not 0 <= prob <= 1:
            raise SetupError(f'RandomErasing: prob={prob}, expected 0 to 1')
        if (
            not 0 < area[0] <= area[1] <= 0.8
        ):  # a larger box would be drawn many times until it fits
            raise SetupError(f'RandomErasing: area={tuple(area)}, expected 0 < low <= high <= 0.8')
        if not 0 < aspect[0] <= 1 <= aspect[1]:
            raise SetupError(
                f'RandomErasing: aspect={tuple(aspect)}, expected 0 < low <= 1 <= high'
            )
        self.prob, self.area, self.aspect = prob, tuple(area), tuple(aspect)

    def transform(self, results: dict) -> dict:
        """Change ``img`` and every map in ``seg_fields``; the arrays of ``results`` stay as they are."""
        if np.random.rand() >= self.prob:
            return results
        height, width = results['img'].shape[:2]
        top, left, bottom, right = self._draw_box(height, width)
        img = results['img'].copy()
        shape = bottom - top, right - left, img.shape[2]
        noise = np.random.randint(0, 256, shape, np.uint8)  # levels, of bands too
        img[top:bottom, left:right] = noise
        results['img'] = img
        for key in results.get('seg_fields', []):
            labels = results[key].copy()
            labels[top:bottom, left:right] = IGNORE
            results[key] = labels
        return results

    def _draw_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right), half-open, in pixels."""
        share = np.random.uniform(*self.area)
        while True:
            ratio = np.random.uniform(*self.aspect)
            box_height = int(np.sqrt(share * ratio) * height)
            box_width = int(np.sqrt(share / ratio) * width)
            top, left = np.random.randint(height), np.random.randint(width)
            if top + box_height <= height and left + box_width <= width:
                return top, left, top + box_height, left + box_width

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, area={self.area}, aspect={self.aspect})'
