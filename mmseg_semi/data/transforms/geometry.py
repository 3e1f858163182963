"""Weak geometry: random resize, padding and crop, alike for an image and all of its maps.

The recipe is the one that DDFP and UniMatch share: relative random resize, padding on the right and
at the bottom, random crop and flip for every image. Geometry happens once, before
:class:`.MultiBranch` splits an unlabelled sample into its weak and its strong view, so the two
views match pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Pad, Resize
from mmseg.registry import TRANSFORMS

from mmseg_semi.data.transforms.resizing import resize_labels, resize_window
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE


@TRANSFORMS.register_module()
class RandomRelativeResize(BaseTransform):
    """Resize an image and its maps relative to the image's own size, keeping the aspect ratio.

    The long side becomes a uniform integer in [int(low * L), int(high * L)], L being its length
    now; the short side is rounded. Pillow's bilinear filter (antialiased) resamples the image, the
    nearest pixel gives labels and validity. (MMCV's RandomResize draws relative to a fixed scale.)

    Where a crop follows, :class:`RandomScaleCrop` does both in less time.

    Reads and changes: ``img`` (H, W, 3) uint8, and every map in ``seg_fields``, (H, W).

    Writes: ``img_shape``, ``scale`` (width, height), ``scale_factor``, ``keep_ratio``.

    Args:
        ratio_range: (low, high), 0 < low <= high. Defaults to (0.5, 2.0).

    Raises:
        SetupError: If the range is not of this kind.
    """

    def __init__(self, ratio_range: Sequence[float] = (0.5, 2.0)) -> None:
        self.ratio_range = _check_range(type(self).__name__, ratio_range)

    def transform(self, results: dict) -> dict:
        """Resize ``img`` and every map in ``seg_fields``."""
        height, width = results['img'].shape[:2]
        size = _draw_long_side(width, height, self.ratio_range, None)
        window = (0, 0, *size)
        results['img'] = resize_window(results['img'], size, window)
        for key in results.get('seg_fields', []):
            results[key] = resize_labels(results[key], size, window)
        return _note_size(results, (width, height), size, size[::-1])

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio_range={self.ratio_range})'


@TRANSFORMS.register_module()
class RandomScaleCrop(BaseTransform):
    """Resize by a random factor, pad to the crop size and crop at random, computing only the crop.

    The defaults equal :class:`RandomRelativeResize`, then :class:`PadAllMaps` and MMSegmentation's
    RandomCrop, draw by draw; an image's pixels differ by one level at most. Image, labels and
    validity share the draw.

    Other settings give further published pipelines:

    ==============  ===============================================================================
    DDFP, UniMatch  the defaults
    DGCL            ``factor='halves', interpolation='bilinear_plain', padding='centre'``, mean
                    colour
    CCT             ``base=400, interpolation='bicubic'``, mean colour
    MLLC, scaled    ``factor='tenths', ratio_range=(0.5, 1.6)``
    ==============  ===============================================================================

    Reads and changes: ``img`` (H, W, 3) uint8, (H, W, channels) float32 or a :class:`.DeferredImage`, and
    every map in ``seg_fields``, (H, W); all then have the size of the crop.

    Writes: ``img_shape``, ``scale`` (width, height) before the crop, ``scale_factor``,
    ``keep_ratio``.

    Args:
        crop_size: (height, width) or the side of a square, in pixels.
        ratio_range: (low, high), 0 < low <= high. Defaults to (0.5, 2.0).
        factor: Distribution of the factor. 'long_side': the long side becomes a uniform integer in
            [int(low * L), int(high * L)], the short side is rounded half up. 'halves': with
            probability 1/2 the factor is uniform in [low, 1], else in [1, high], and sides are
            rounded down. 'tenths': the factor is one of low, low + 0.1, ..., high, and sides are
            rounded down. Defaults to 'long_side'.
        base: Length L of 'long_side' in pixels; None: the image's own long side. Defaults to None.
        interpolation: Of the image: 'bilinear' and 'bicubic' are Pillow's (antialiased when they
            shrink), 'bilinear_plain' reads four pixels at any scale. Labels and validity take the
            nearest pixel. Defaults to 'bilinear'.
        padding: 'corner' pads on the right and at the bottom, 'centre' equally on both sides.
            Defaults to 'corner'.
        pad_val: ``img``: one value, or that of each channel; ``seg``: value of all maps.
            Defaults to 0 and 255 (ignored).

    Raises:
        SetupError: If an argument is none of these.

    Example:
        >>> crop = RandomScaleCrop(2, ratio_range=(1, 1))
        >>> results = dict(img=np.zeros((1, 2, 3), np.uint8), seg_fields=['gt_seg_map'])
        >>> results['gt_seg_map'] = np.zeros((1, 2), np.uint8)
        >>> crop.transform(results)['gt_seg_map'].tolist()
        [[0, 0], [255, 255]]
    """

    def __init__(
        self,
        crop_size: int | Sequence[int],
        ratio_range: Sequence[float] = (0.5, 2.0),
        factor: str = 'long_side',
        base: int | None = None,
        interpolation: str = 'bilinear',
        padding: str = 'corner',
        pad_val: dict | None = None,
    ) -> None:
        name = type(self).__name__
        crop = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if len(crop) != 2 or min(crop) < 1:
            raise SetupError(f'{name}: crop_size={crop_size}, expected (height, width)')
        for key, value, known in (
            ('factor', factor, ('long_side', 'halves', 'tenths')),
            ('interpolation', interpolation, ('bilinear', 'bicubic', 'bilinear_plain')),
            ('padding', padding, ('corner', 'centre')),
        ):
            if value not in known:
                raise SetupError(f"{name}: {key}='{value}', expected one of {known}")
        if base is not None and (factor != 'long_side' or base < 1):
            raise SetupError(
                f"{name}: base={base} with factor='{factor}', expected a length in pixels with "
                "factor='long_side'"
            )
        self.crop_size = crop
        self.ratio_range = _check_range(name, ratio_range)
        self.factor, self.base = factor, base
        self.interpolation, self.padding = interpolation, padding
        self.pad_val = {'img': 0, 'seg': IGNORE, **(pad_val or {})}

    def transform(self, results: dict) -> dict:
        """Change ``img`` and every map in ``seg_fields``."""
        height, width = results['img'].shape[:2]
        size = self._draw_size(width, height)
        # top before left, as MMSegmentation's RandomCrop draws
        top = np.random.randint(0, max(size[1] - self.crop_size[0], 0) + 1)
        left = np.random.randint(0, max(size[0] - self.crop_size[1], 0) + 1)
        window = (
            left,
            top,
            min(left + self.crop_size[1], size[0]),
            min(top + self.crop_size[0], size[1]),
        )
        img = resize_window(results['img'], size, window, self.interpolation)
        results['img'] = self._pad(img, self.pad_val['img'])
        for key in results.get('seg_fields', []):
            labels = resize_labels(results[key], size, window)
            results[key] = self._pad(labels, self.pad_val['seg'])
        return _note_size(results, (width, height), size, self.crop_size)

    def _draw_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the complete image after resizing."""
        low, high = self.ratio_range
        if self.factor == 'long_side':
            return _draw_long_side(width, height, self.ratio_range, self.base)
        if self.factor == 'halves':
            half = (min(low, 1.0), 1.0) if np.random.rand() < 0.5 else (1.0, max(high, 1.0))
            factor = np.random.uniform(*half)
            return max(int(width * factor), 1), max(int(height * factor), 1)
        tenths = np.random.randint(round(low * 10), round(high * 10) + 1)
        return max(width * tenths // 10, 1), max(height * tenths // 10, 1)

    def _pad(self, array: np.ndarray, value: float | Sequence[float]) -> np.ndarray:
        missing = [max(c - a, 0) for c, a in zip(self.crop_size, array.shape[:2], strict=True)]
        if not any(missing):
            return array
        top, left = (m // 2 for m in missing) if self.padding == 'centre' else (0, 0)
        bottom, right = missing[0] - top, missing[1] - left
        if array.ndim == 3 and array.shape[2] != 3:  # OpenCV has values for four channels at most
            height, width = array.shape[:2]
            padded = np.full((*self.crop_size, array.shape[2]), value, array.dtype)
            padded[top : top + height, left : left + width] = array
            return padded
        value = value if array.ndim == 2 or not np.isscalar(value) else (value,) * 3
        return cv2.copyMakeBorder(array, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, ratio_range={self.ratio_range}, '
            f"factor='{self.factor}', base={self.base}, interpolation='{self.interpolation}', "
            f"padding='{self.padding}', pad_val={self.pad_val})"
        )


def _check_range(name: str, ratio_range: Sequence[float]) -> tuple[float, float]:
    low, high = ratio_range
    if not 0 < low <= high:
        raise SetupError(f'{name}: ratio_range={tuple(ratio_range)}, expected 0 < low <= high')
    return low, high


def _draw_long_side(
    width: int, height: int, ratio_range: tuple[float, float], base: int | None
) -> tuple[int, int]:
    """(width, height) with a long side that is uniform between the two ratios of the base."""
    low, high = (int(ratio * (base or max(width, height))) for ratio in ratio_range)
    return _keep_aspect(width, height, np.random.randint(max(low, 1), max(high, 1) + 1))


def _keep_aspect(width: int, height: int, long_side: int) -> tuple[int, int]:
    """(width, height) with the given long side; the short one rounded half up, at least 1.

    Example:
        >>> _keep_aspect(500, 375, 250)
        (250, 188)
    """
    factor = long_side / max(width, height)
    if width >= height:
        return long_side, max(int(height * factor + 0.5), 1)
    return max(int(width * factor + 0.5), 1), long_side


def _note_size(
    results: dict, before: tuple[int, int], size: tuple[int, int], shape: Sequence[int]
) -> dict:
    """Write the keys of MMCV's Resize; ``before`` and ``size`` are (width, height)."""
    results['img_shape'] = tuple(shape)
    results['scale'] = size
    results['scale_factor'] = (size[0] / before[0], size[1] / before[1])
    results['keep_ratio'] = True
    return results


@TRANSFORMS.register_module()
class InitValidMap(BaseTransform):
    """Start the map that separates real pixels from padding, for images without labels.

    Padding, crop and flip then change it with the image. Put it before the first transform that
    pads.

    Reads: ``img``; ``missing_map`` of :class:`.LoadAnyImage` (removed).

    Writes: ``gt_valid_map`` (H, W) uint8, 0 where the pixel is real, 255 where the image has no data;
    padding will be 255. Its name is appended to ``seg_fields``.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_valid_map``."""
        results['gt_valid_map'] = np.zeros(results['img'].shape[:2], np.uint8)
        missing = results.pop('missing_map', None)
        if missing is not None:
            results['gt_valid_map'][missing] = IGNORE
        results.setdefault('seg_fields', []).append('gt_valid_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class PadAllMaps(Pad):
    """Pad an image and every map in ``seg_fields`` on the right and at the bottom.

    MMCV's Pad pads only the labels; the other settings are its own.

    Reads and changes: ``img`` (H, W, 3), and every map in ``seg_fields``, (H, W).

    Writes: ``img_shape``, ``pad_shape``, ``pad_fixed_size``, ``pad_size_divisor``.

    Args:
        size: (width, height) to pad to; larger images stay. Defaults to None.
        pad_val: Values of padding. Defaults to 0 in the image and 255 (ignored) in every map.
        **kwargs: Other arguments of :class:`mmcv.transforms.Pad`.
    """

    def _pad_seg(self, results: dict) -> None:
        shape = results['pad_shape'][:2]
        for key in results.get('seg_fields', []):
            results[key] = mmcv.impad(
                results[key], shape=shape, pad_val=self.pad_val.get('seg', IGNORE)
            )


@TRANSFORMS.register_module()
class ResizeAnyImage(Resize):
    """MMCV's Resize with Pillow's filter, for images of :class:`.LoadAnyImage`.

    An image of bands, (H, W, channels) float32, is resized band by band; one of 8 bits as Resize with
    ``backend='pillow'`` does.

    Args:
        scale: As in :class:`mmcv.transforms.Resize`, with its other arguments but ``backend``.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **{**kwargs, 'backend': 'pillow'})

    def _resize_img(self, results: dict) -> None:
        img = results['img']
        if img.dtype == np.uint8:
            super()._resize_img(results)
            return
        before = img.shape[1], img.shape[0]
        size = results['scale']
        if self.keep_ratio:
            size = mmcv.rescale_size(before, size)
        results['img'] = resize_window(img, tuple(size), (0, 0, *size))
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (size[0] / before[0], size[1] / before[1])
        results['keep_ratio'] = self.keep_ratio


@TRANSFORMS.register_module()
class EvaluateAtThisSize(BaseTransform):
    """Take the present size of the image as its original size.

    Segmentors resize their predictions to the original size before they are compared with the
    labels. After a resize of image *and* labels, this keeps the comparison at the small size.

    Reads: ``img``.

    Writes: ``ori_shape`` (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Overwrite ``ori_shape``."""
        results['ori_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
