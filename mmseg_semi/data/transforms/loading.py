"""Loading of images and label maps, with errors that name a file that cannot be used.

``LoadImage`` and ``LoadSegLabels`` read the usual data sets, ``LoadAnyImage`` and ``LoadAnyLabels``
the images and masks of :class:`.FolderDataset`, whatever their format is.
"""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from mmseg_semi.data.bands import Bands, missing_pixels
from mmseg_semi.data.decoding.bands import decode_bands
from mmseg_semi.data.decoding.files import read_file, unreadable
from mmseg_semi.data.decoding.images import DeferredImage, decode_deep_colour, decode_image
from mmseg_semi.data.decoding.labels import check_mask_size, read_labels, to_class_indices
from mmseg_semi.data.decoding.png import PlainPNG
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

_MEAN_COLOUR = (104, 116, 124)
"""ImageNet's mean blue, green and red."""


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Read an image as uint8 BGR.

    It obeys orientation tags, and turns grey and palette images into colour images.

    Reads: ``img_path``; ``img_span``, (file, start, stop), if the image is a part of a file such as
    a tar shard; ``img_bytes``, the file's bytes, if they are read already (removed).

    Writes: ``img`` (H, W, 3) uint8 BGR, ``img_shape`` and ``ori_shape``, both (H, W).

    Args:
        imdecode_backend: 'auto' (see :func:`.decode_image`) or a decoder of
            :func:`mmcv.imfrombytes`. Defaults to 'auto'.
        backend_args: File backend of MMEngine, None for the local disk. Defaults to None.
        defer: Whether to leave a PNG to :class:`.RandomScaleCrop`, which then decodes the part that
            it crops, with the same pixels. ``img`` is a :class:`.DeferredImage` until then, and no
            transform between the two may need pixels. Other files are decoded here, and with
            another decoder than 'auto' all files. Defaults to False.

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.

    Example:
        >>> import cv2
        >>> content = cv2.imencode('.png', np.zeros((2, 3, 3), np.uint8))[1].tobytes()
        >>> results = LoadImage().transform(dict(img_path='a.png', img_bytes=content))
        >>> results['img'].shape, results['ori_shape']
        ((2, 3, 3), (2, 3))
    """

    def __init__(
        self,
        imdecode_backend: str = 'auto',
        backend_args: dict | None = None,
        defer: bool = False,
    ) -> None:
        super().__init__(imdecode_backend=imdecode_backend, backend_args=backend_args)
        self.defer = defer and imdecode_backend == 'auto'

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        path = results['img_path']
        content = results.pop('img_bytes', None)
        if content is None:
            content = read_file(path, 'image', self.backend_args, results.get('img_span'))
        png = PlainPNG.of(content) if self.defer else None
        if png is not None:
            results['img'] = DeferredImage(path, content, png)
            results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
            return results
        try:
            if self.imdecode_backend == 'auto':
                img = decode_image(content)
            else:
                img = mmcv.imfrombytes(content, backend=self.imdecode_backend)
        except Exception as error:  # each decoder raises its own kinds
            raise unreadable(path, 'image', content, error) from error
        if img is None:
            raise unreadable(path, 'image', content, 'the decoder returned nothing')
        results['img'] = np.ascontiguousarray(img)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadSegLabels(LoadAnnotations):
    """Read a label map of class indices.

    Reads: ``seg_map_path``; ``reduce_zero_label`` and ``label_map`` of the data set; ``img``, for
    the comparison of sizes, and ``img_path``, for errors.

    Writes: ``gt_seg_map`` (H, W) uint8, a class or 255 (ignored); its name is appended to
    ``seg_fields``.

    Args:
        num_classes: Labels must be 0 .. num_classes - 1 or 255 (ignored) after the data set's
            ``reduce_zero_label`` and ``label_map``.
        backend_args: File backend of MMEngine, None for the local disk. Defaults to None.

    Raises:
        SetupError: If the file is missing, truncated, in colour, of another size than its image,
            or holds a value that is no class.
    """

    def __init__(self, num_classes: int, backend_args: dict | None = None) -> None:
        super().__init__(backend_args=backend_args)
        self.num_classes = num_classes

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        labels = read_labels(path, self.backend_args)
        if 'img' in results:
            check_mask_size(path, labels, results.get('img_path'), results['img'].shape[:2])
        results['gt_seg_map'] = to_class_indices(
            labels,
            self.num_classes,
            path,
            reduce_zero_label=bool(results.get('reduce_zero_label')),
            label_map=results.get('label_map'),
        )
        results.setdefault('seg_fields', []).append('gt_seg_map')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_classes={self.num_classes})'


@TRANSFORMS.register_module()
class LoadAnyImage(LoadImage):
    """Read an image of any format that Pillow, OpenCV, tifffile or NumPy reads.

    Without ``bands``, as uint8 BGR:

    - An image of 8 bits per channel keeps its values, as with ``LoadImage``.
    - More bits, or fractions: ``value_range`` (low, high) is mapped linearly to 0 .. 255 and
      rounded; values outside of it are clipped. The data set's range comes first, then the
      argument, then 0 .. 65535 for integers; fractions have no default.
    - A single channel is repeated three times; an alpha channel is dropped; of several pages the
      first is read.

    With ``bands`` (:class:`.Bands`), as float32 levels of 0 .. 255 of the bands in use, in their order.

    Pixels without data (:func:`.missing_pixels`) get the mean: that of the bands, else ImageNet's
    mean colour. The loaders of labels and :class:`.InitValidMap` ignore them.

    Reads: the keys of ``LoadImage``, and ``value_range`` and ``bands`` of :class:`.FolderDataset`
    (removed).

    Writes: ``img`` (H, W, 3) uint8 BGR or (H, W, channels) float32, ``img_shape`` and ``ori_shape``,
    both (H, W); ``missing_map`` (H, W) bool, if data are missing; with bands ``colour_bands``, the
    positions of red, green and blue, () if there are none.

    Args:
        value_range: (low, high) of images with more than 8 bits. Defaults to None.
        bands: Keys of :class:`.Bands`, for inference without a data set. Defaults to None.
        **kwargs: Arguments of ``LoadImage``.

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.
        SetupError: If the image has other bands than expected, or needs a range or a package.
    """

    def __init__(
        self, value_range: Sequence[float] | None = None, bands: dict | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.value_range = value_range
        self.bands = None if bands is None else Bands.of(bands, 'LoadAnyImage')
        if self.bands is not None:
            self.bands.need_statistics('LoadAnyImage')

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        path = results['img_path']
        content = results.pop('img_bytes', None)
        if content is None:
            content = read_file(path, 'image', self.backend_args, results.get('img_span'))
        value_range = results.pop('value_range', None) or self.value_range
        bands = results.pop('bands', None) or self.bands
        if bands is not None:
            values, nodata = decode_bands(content, path, bands.count)
            img, missing = bands.to_levels(bands.pick(values, path), nodata)
            results['colour_bands'] = bands.colour or ()
            return _note_image(results, img, missing)
        try:
            deep, nodata = decode_deep_colour(content, path)
        except SetupError:
            raise
        except Exception as error:  # each decoder raises its own kinds
            raise unreadable(path, 'image', content, error) from error
        if deep is None:
            results = super().transform(dict(results, img_bytes=content))
            if nodata is None:
                return results
            missing = missing_pixels(results['img'], [nodata])
            return _note_image(results, _filled(results['img'], missing), missing)
        missing = missing_pixels(deep, [nodata])
        img = _filled(_to_levels(deep, missing, value_range, path), missing)
        return _note_image(results, img, missing)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(value_range={self.value_range}, bands={self.bands})'


def _to_levels(
    deep: np.ndarray, missing: np.ndarray, value_range: Sequence[float] | None, path: str
) -> np.ndarray:
    """(H, W, 3) uint8 BGR of (H, W, 1 or 3) values."""
    if deep.dtype == np.uint8:
        value_range = (0, 255)
    if value_range is None:
        known = deep[~missing]
        low, high = (known.min(), known.max()) if known.size else (0, 0)
        if deep.dtype.kind == 'f' or low < 0 or high > 65535:
            raise SetupError(
                f'image {path} holds {deep.dtype} values of {low:.4g} to {high:.4g}; say which become '
                'black and white: value_range: [LOW, HIGH] in the data file, or '
                'value_range=(LOW, HIGH) of LoadAnyImage'
            )
        value_range = (0, 65535)
    low, high = value_range
    known = np.where(missing[..., None], low, deep).astype(np.float32)
    img = np.rint((known - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return np.repeat(img, 3, 2) if img.shape[2] == 1 else img


def _filled(img: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """A BGR image with ImageNet's mean colour where data are missing."""
    if not missing.any():
        return img
    img = img.copy()
    img[missing] = _MEAN_COLOUR
    return img


def _note_image(results: dict, img: np.ndarray, missing: np.ndarray) -> dict:
    results['img'] = np.ascontiguousarray(img)
    results['img_shape'] = results['ori_shape'] = img.shape[:2]
    if missing.any():
        results['missing_map'] = missing
    return results


@TRANSFORMS.register_module()
class LoadAnyLabels(LoadAnnotations):
    """Read a mask of a :class:`.FolderDataset` as class indices; its file maps values or colours.

    Pixels where the image has no data are ignored.

    Reads: ``seg_map_path``; ``mask_map``, the :class:`.MaskMap` of the data set (removed);
    ``ori_shape``, for the comparison of sizes, and ``img_path``, for errors; ``missing_map`` of
    :class:`LoadAnyImage` (removed).

    Writes: ``gt_seg_map`` (H, W) uint8, a class or 255 (ignored); its name is appended to
    ``seg_fields``.

    Args:
        backend_args: File backend of MMEngine, None for the local disk. Defaults to None.

    Raises:
        SetupError: If the mask cannot be read, holds values that belong to no class and are not
            ignored, or has another size than its image; if the data set has no ``mask_map``.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        super().__init__(backend_args=backend_args)

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        mask_map = results.pop('mask_map', None)
        if mask_map is None:
            raise SetupError(
                f'LoadAnyLabels: nothing maps the values of {path}; use it with FolderDataset, or '
                'LoadSegLabels with other data sets'
            )
        labels = mask_map.read(path, self.backend_args)
        # the size in the file: test-time augmentation has resized the image by now
        shape = results.get('ori_shape', labels.shape)
        check_mask_size(path, labels, results.get('img_path'), shape)
        missing = results.pop('missing_map', None)
        if missing is not None:
            labels[missing] = IGNORE
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
