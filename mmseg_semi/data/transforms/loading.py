"""Loading, weak geometry and packing for semi-supervised training.

The recipe is the one that DDFP and UniMatch share: relative random resize, padding on the right and
at the bottom, random crop and flip for every image; colour (:mod:`.colour`) for the strong view
alone. Geometry happens once, before :class:`MultiBranch` splits an unlabelled sample into its weak
and its strong view, so the two views match pixel by pixel.

Pillow does the resampling, as in the authors' code: its filters are antialiased when they shrink.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Sequence

import cv2
import mmcv
import mmengine.fileio as fileio
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose, LoadImageFromFile, Pad
from mmengine.structures import PixelData
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import TRANSFORMS
from PIL import Image, UnidentifiedImageError

from mmseg_semi.data.names import read_bytes
from mmseg_semi.data.decoding.png import PlainPNG
from mmseg_semi.errors import SetupError, UnreadableFileError
from mmseg_semi.labels import IGNORE

"""Label of pixels that nothing is learned from: void classes and padding."""


# ---------------------------------------------------------------------------------------- loading


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Read an image as uint8 BGR, or say which file cannot be read.

    Orientation tags are obeyed; grey and palette images become coloured ones.

    Args:
        imdecode_backend: 'auto' (see :func:`decode_image`) or a decoder of
            :func:`mmcv.imfrombytes`. Defaults to 'auto'.
        backend_args: File backend of MMEngine, None for the local disk. Defaults to None.
        defer: Leave a PNG to :class:`RandomScaleCrop`, which then decodes the part that it shows, with
            the same pixels. Between the two nothing may need pixels. Other files, and with another
            decoder than 'auto' all, are decoded here as ever. Defaults to False.

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.
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
        """Add ``img`` (H, W, 3), ``img_shape`` and ``ori_shape`` (H, W).

        With ``img_span`` (file, start, stop) the image is a part of a file, such as a tar shard. What
        has been read already may be handed on as ``img_bytes``.
        """
        path = results['img_path']
        content = results.pop('img_bytes', None)
        if content is None:
            content = _read(path, 'image', self.backend_args, results.get('img_span'))
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
            raise _unreadable(path, 'image', content, error) from error
        if img is None:
            raise _unreadable(path, 'image', content, 'the decoder returned nothing')
        results['img'] = np.ascontiguousarray(img)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results


class DeferredImage:
    """An image that is decoded when it is known which part of it is needed (see :class:`LoadImage`).

    Args:
        path: Named in errors.
        content: The file.
        png: The same, opened.
    """

    def __init__(self, path: str, content: bytes, png: PlainPNG) -> None:
        self.shape = (png.height, png.width, 3)
        self._path, self._content, self._png = path, content, png

    def corner(self, height: int, width: int) -> np.ndarray:
        """The upper left (height, width, 3) uint8 BGR of the image, or more of it.

        Raises:
            UnreadableFileError: If the file is damaged.
        """
        img = self._png.corner(height, width)
        if img is None:
            try:
                img = decode_image(self._content)
            except Exception as error:  # each decoder raises its own kinds
                raise _unreadable(self._path, 'image', self._content, error) from error
        return img

    def __array__(self, *args, **kwargs) -> np.ndarray:
        raise SetupError(
            'a transform between LoadImage(defer=True) and RandomScaleCrop needs the pixels of '
            f'{self._path}, which are not decoded yet; set defer=False, or move the transform'
        )

    def __getattr__(self, name: str):
        if name.startswith('_'):  # protocols that other libraries ask for
            raise AttributeError(name)
        return self.__array__()


_PNG_END = b'IEND\xaeB`\x82'
_JPEG_END = b'\xff\xd9'


def decode_image(content: bytes) -> np.ndarray:
    """Decode a file's bytes as Pillow does, in less time.

    OpenCV decodes 8-bit colour JPEG and PNG straight to BGR, with the same pixels as Pillow. It fills
    up a truncated file with grey, though, where Pillow reports it: it is given whole files only, and
    Pillow takes all others, whatever is wrong or unusual with them.

    Args:
        content: The file.

    Returns:
        np.ndarray: (H, W, 3) uint8 BGR, its orientation tag obeyed.

    Raises:
        Exception: Of Pillow's many kinds, if this is no image or not a whole one.
    """
    header = Image.open(io.BytesIO(content))
    if header.mode == 'RGB' and _is_whole(header, content):
        img = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if img is not None:
            return img
    return mmcv.imfrombytes(content, backend='pillow')


def _is_whole(header: Image.Image, content: bytes) -> bool:
    """Whether a file of a kind that both decoders read alike ends as it should."""
    if header.format == 'JPEG':
        return content.endswith(_JPEG_END)
    if header.format == 'PNG':
        return content[24] == 8 and content.endswith(_PNG_END)  # byte 24: bits of a channel
    return False


@TRANSFORMS.register_module()
class LoadSegLabels(LoadAnnotations):
    """Read a label map of class indices and refuse values that are no class.

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
        if 'img' in results and results['img'].shape[:2] != labels.shape:
            height, width = results['img'].shape[:2]
            raise SetupError(
                f'mask {path} is {labels.shape[1]} x {labels.shape[0]} pixels, but its image '
                f'{results["img_path"]} is {width} x {height}; both must have the same size'
            )
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


def read_labels(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Read the raw values of a single-channel label file.

    Palette files give their indices, never their colours.

    Args:
        path: Label file.
        backend_args: File backend of MMEngine, None for the local disk.

    Returns:
        np.ndarray: Shape (H, W), the file's own unsigned or signed integer type.

    Raises:
        SetupError: If the file is missing, truncated, in colour or not of integers.
    """
    content = _read(path, 'mask', backend_args)
    try:
        labels = np.asarray(Image.open(io.BytesIO(content)))
    except Exception as error:  # each decoder raises its own kinds
        raise _unreadable(path, 'mask', content, error) from error
    if labels.ndim != 2:
        raise SetupError(
            f'mask {path} has {labels.shape[2]} colour channels, expected one channel of class '
            'indices; convert it to an indexed or 8-bit grey PNG whose values are the classes'
        )
    if labels.dtype.kind not in 'bui':
        raise SetupError(f'mask {path} holds {labels.dtype} values, expected integer class indices')
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def to_class_indices(
    labels: np.ndarray,
    num_classes: int,
    path: str,
    reduce_zero_label: bool = False,
    label_map: dict[int, int] | None = None,
) -> np.ndarray:
    """Map raw values to class indices as MMSegmentation does, and check the result.

    Args:
        labels: Shape (H, W), raw values of the file.
        num_classes: Number of classes.
        path: Named in errors.
        reduce_zero_label: Whether 0 means ignored and k means class k - 1.
        label_map: Further renaming of class indices, or None.

    Returns:
        np.ndarray: Shape (H, W) uint8, 0 .. num_classes - 1 or 255.

    Raises:
        SetupError: If a value is neither.
    """
    if labels.dtype != np.uint8:
        lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
        if lowest < 0 or highest > IGNORE:
            raise _bad_label(path, highest if highest > IGNORE else lowest, num_classes)
        labels = labels.astype(np.uint8)

    table = np.arange(256)
    if reduce_zero_label:
        table = np.concatenate([[IGNORE], table[:-2], [IGNORE]])
    if label_map is not None:
        table = np.array([label_map.get(int(value), int(value)) for value in table])
    wrong = (table >= num_classes) & (table != IGNORE)

    # OpenCV counts uint8 ten times faster than np.unique
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1)
    found = np.flatnonzero((counts > 0) & wrong)
    if len(found):
        raise _bad_label(path, int(found[0]), num_classes, int(counts[found[0]]))
    if reduce_zero_label or label_map is not None:
        labels = table.astype(np.uint8)[labels]
    return np.array(labels)


def _bad_label(path: str, value: int, num_classes: int, count: int | None = None) -> SetupError:
    pixels = '' if count is None else f' ({count} pixels)'
    return SetupError(
        f'mask {path} holds the label {value}{pixels}, but the data set has {num_classes} classes: '
        f'labels must be 0 to {num_classes - 1}, or {IGNORE} for pixels to ignore; convert the '
        'masks, or correct the classes in the config'
    )


def _read(
    path: str, kind: str, backend_args: dict | None, span: tuple[str, int, int] | None = None
) -> bytes:
    try:
        return read_bytes(*span) if span else fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise UnreadableFileError(
            f'{kind} {path} does not exist; add the file, or take its name out of the list'
        ) from error
    except OSError as error:
        raise UnreadableFileError(f'{kind} {path} cannot be read: {error}') from error


def _unreadable(path: str, kind: str, content: bytes, reason) -> UnreadableFileError:
    if isinstance(reason, UnidentifiedImageError):  # its text shows a buffer's address
        reason = 'no image format that Pillow knows'
    reason = ' '.join(str(reason).split()) or type(reason).__name__
    return UnreadableFileError(
        f'{kind} {path} ({len(content)} bytes) cannot be decoded ({reason}); replace the file, or '
        'take its name out of the list'
    )


# --------------------------------------------------------------------------------- weak geometry


@TRANSFORMS.register_module()
class RandomRelativeResize(BaseTransform):
    """Resize relative to the image's own size, aspect kept.

    The long side becomes a uniform integer in [int(low * L), int(high * L)], L being its length now;
    the short side is rounded. Images are resampled by Pillow's bilinear filter (antialiased), label
    and validity maps by the nearest pixel. (MMCV's RandomResize draws relative to a fixed scale.)

    Where a crop follows, :class:`RandomScaleCrop` does both in less time.

    Args:
        ratio_range: (low, high), 0 < low <= high. Defaults to (0.5, 2.0).
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
    """Resize by a random factor, pad to the crop, cut a random crop; what is cut away is never resized.

    The defaults equal :class:`RandomRelativeResize`, then :class:`PadAllMaps` and MMSegmentation's
    RandomCrop, draw by draw; an image's pixels differ by one level at most. Image, labels and validity
    share the draw.

    The other settings are those of further published pipelines:

    ========================  ==========================================================================
    DDFP, UniMatch            the defaults
    DGCL                      ``factor='halves', interpolation='bilinear_plain', padding='centre'``, mean
                              colour
    CCT                       ``base=400, interpolation='bicubic'``, mean colour
    MLLC, scaled              ``factor='tenths', ratio_range=(0.5, 1.6)``
    ========================  ==========================================================================

    Args:
        crop_size: (height, width) or the side of a square.
        ratio_range: (low, high), 0 < low <= high. Defaults to (0.5, 2.0).
        factor: Law of the factor. 'long_side': the long side becomes a uniform integer in
            [int(low * L), int(high * L)], the short side is rounded half up. 'halves': with
            probability 1/2 the factor is uniform in [low, 1], else in [1, high], and sides are cut to
            integers. 'tenths': the factor is one of low, low + 0.1, ..., high, and sides are cut to
            integers. Defaults to 'long_side'.
        base: Length L that 'long_side' is relative to; None: the image's own long side. Defaults to
            None.
        interpolation: Of the image: 'bilinear' and 'bicubic' are Pillow's (antialiased when they
            shrink), 'bilinear_plain' looks at four pixels however much it shrinks. Labels and
            validity take the nearest pixel. Defaults to 'bilinear'.
        padding: 'corner' pads on the right and at the bottom, 'centre' alike on both sides. Defaults to
            'corner'.
        pad_val: ``img``: one value, or the blue, green and red one; ``seg``: value of all maps.
            Defaults to 0 and 255.
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
        # the order of MMSegmentation's RandomCrop
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
        """(width, height) of the whole image after resizing."""
        low, high = self.ratio_range
        if self.factor == 'long_side':
            return _draw_long_side(width, height, self.ratio_range, self.base)
        if self.factor == 'halves':
            half = (min(low, 1.0), 1.0) if np.random.rand() < 0.5 else (1.0, max(high, 1.0))
            factor = np.random.uniform(*half)
            return max(int(width * factor), 1), max(int(height * factor), 1)
        tenths = np.random.randint(round(low * 10), round(high * 10) + 1)
        return max(width * tenths // 10, 1), max(height * tenths // 10, 1)

    def _pad(self, array: np.ndarray, value) -> np.ndarray:
        missing = [max(c - a, 0) for c, a in zip(self.crop_size, array.shape[:2], strict=True)]
        if not any(missing):
            return array
        top, left = (m // 2 for m in missing) if self.padding == 'centre' else (0, 0)
        bottom, right = missing[0] - top, missing[1] - left
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
    """(width, height) with a long side that is a uniform integer between the two ratios of the base."""
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


def _note_size(results: dict, before: tuple, size: tuple, shape: Sequence[int]) -> dict:
    results['img_shape'] = tuple(shape)
    results['scale'] = size
    results['scale_factor'] = (size[0] / before[0], size[1] / before[1])
    results['keep_ratio'] = True
    return results


def resize_window(
    img: np.ndarray | DeferredImage,
    size: tuple[int, int],
    window: tuple[int, int, int, int],
    interpolation: str = 'bilinear',
) -> np.ndarray:
    """A window of the resized image, computed from the pixels that it needs.

    Args:
        img: (H, W, 3) uint8, or a :class:`DeferredImage`, of which the part is decoded.
        size: (width, height) of the whole resized image.
        window: (left, top, right, bottom) in the resized image.
        interpolation: 'bilinear', 'bicubic' (Pillow's) or 'bilinear_plain'.

    Returns:
        np.ndarray: (bottom - top, right - left, 3) uint8. Equal to the window of the whole resized
        image but for one level of rounding.
    """
    left, top, right, bottom = window
    height, width = img.shape[:2]
    # the window in the image, and the pixels that the filter reads around it
    (x0, x1), columns = _source(left, right, width, size[0])
    (y0, y1), rows = _source(top, bottom, height, size[1])
    if isinstance(img, DeferredImage):
        img = img.corner(rows.stop, columns.stop)
    if size == (width, height):
        return img[top:bottom, left:right]
    shrinks = size[0] < width or size[1] < height
    pixels = (right - left) * (bottom - top)
    # Where nothing shrinks OpenCV interpolates as Pillow does; it is five times faster but has to
    # resize the whole image.
    if interpolation == 'bilinear_plain' or (
        interpolation == 'bilinear' and not shrinks and size[0] * size[1] < 4 * pixels
    ):
        missing = height - img.shape[0], width - img.shape[1]  # not decoded: outside of the window
        if any(missing):
            img = cv2.copyMakeBorder(img, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT)
        img = cv2.resize(img, size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(img[top:bottom, left:right])
    method = Image.Resampling.BICUBIC if interpolation == 'bicubic' else Image.Resampling.BILINEAR
    source = Image.fromarray(np.ascontiguousarray(img[rows, columns]))
    box = (x0 - columns.start, y0 - rows.start, x1 - columns.start, y1 - rows.start)
    resized = source.resize((right - left, bottom - top), method, box=box)
    return np.array(resized)  # a copy: torch warns about Pillow's read-only buffers


def _source(low: int, high: int, length: int, resized: int) -> tuple[tuple[float, float], slice]:
    """Where [low, high) of the resized axis lies in the image, and the pixels that its filter reads."""
    scale = length / resized
    reach = math.ceil(2 * max(scale, 1.0)) + 1  # of the bicubic filter, the wider one
    start, stop = low * scale, min(high * scale, length)
    return (start, stop), slice(max(int(start) - reach, 0), min(math.ceil(stop) + reach, length))


def resize_labels(
    labels: np.ndarray, size: tuple[int, int], window: tuple[int, int, int, int]
) -> np.ndarray:
    """A window of a resized label map: the value of the nearest pixel, in exact arithmetic.

    Args:
        labels: (H, W).
        size: (width, height) of the whole resized map.
        window: (left, top, right, bottom) in the resized map.
    """
    left, top, right, bottom = window
    if not labels.any():  # the validity of an image that nothing has padded
        return np.zeros((bottom - top, right - left), labels.dtype)
    height, width = labels.shape
    # the centre of pixel x lies at (x + 1/2) * width / size[0]
    columns = (2 * np.arange(left, right) + 1) * width // (2 * size[0])
    rows = (2 * np.arange(top, bottom) + 1) * height // (2 * size[1])
    return labels[rows][:, columns]


@TRANSFORMS.register_module()
class InitValidMap(BaseTransform):
    """Start the map that tells real pixels from padding, for images without labels.

    Adds ``gt_valid_map``, zeros of shape (H, W) uint8, to ``seg_fields``: padding, crop and flip then
    carry it, padding as 255. Put it before the first transform that pads.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_valid_map``."""
        results['gt_valid_map'] = np.zeros(results['img'].shape[:2], np.uint8)
        results.setdefault('seg_fields', []).append('gt_valid_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class PadAllMaps(Pad):
    """MMCV's Pad (right and bottom), for every map in ``seg_fields`` and not the labels alone.

    Args:
        size: (width, height) to pad to; larger images stay. Defaults to None.
        pad_val: Values of padding. Defaults to 0 in the image and 255 in every map.
        **kwargs: Other arguments of :class:`mmcv.transforms.Pad`.
    """

    def _pad_seg(self, results: dict) -> None:
        shape = results['pad_shape'][:2]
        for key in results.get('seg_fields', []):
            results[key] = mmcv.impad(
                results[key], shape=shape, pad_val=self.pad_val.get('seg', IGNORE)
            )


@TRANSFORMS.register_module()
class EvaluateAtThisSize(BaseTransform):
    """Take the size that the image has now as its original size.

    Segmentors resize their predictions to the original size before they are compared with the
    labels. After a resize of image *and* labels, this keeps the comparison at the small size.
    """

    def transform(self, results: dict) -> dict:
        """Overwrite ``ori_shape``."""
        results['ori_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


# ------------------------------------------------------------------------------ views and packing


@TRANSFORMS.register_module()
class PackSemiInputs(PackSegInputs):
    """MMSegmentation's PackSegInputs, with the validity of an unlabelled image's pixels.

    Adds ``data_sample.valid_map``, PixelData of shape (1, H, W) bool, True where the pixel is real and
    False where it is padding. Samples with labels need none: their padding is label 255. Labels of
    uncertain truth that an unlabelled image brings along (``gt_given_map`` in ``seg_fields``) become
    ``data_sample.given_map``, (1, H, W) uint8. What :class:`DeferColour` has drawn goes along as ``data_sample.colour``.
    """

    def transform(self, results: dict) -> dict:
        """Pack one sample into ``inputs`` (3, H, W) uint8 and ``data_samples``."""
        img = results['img']
        if img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3:
            # what the parent does, in a third of its time: it finds the channels apart already
            planes = np.empty((3, *img.shape[:2]), np.uint8)
            cv2.split(img, list(planes))
            results['img'] = planes.transpose(1, 2, 0)
        packed = super().transform(results)
        if 'gt_valid_map' in results:
            valid = torch.from_numpy(results['gt_valid_map'] != IGNORE)
            packed['data_samples'].valid_map = PixelData(data=valid[None])
        if 'gt_given_map' in results:
            given = torch.from_numpy(np.ascontiguousarray(results['gt_given_map']))
            packed['data_samples'].given_map = PixelData(data=given[None])
        if 'colour' in results:
            packed['data_samples'].set_metainfo(dict(colour=results['colour']))
        return packed


@TRANSFORMS.register_module()
class MultiBranch(BaseTransform):
    """Send a sample through one pipeline per view (same role as in MMDetection).

    What comes before this transform is shared by the views: geometry belongs there, colour into the
    branches. Every sample, labelled or not, lists all views of the batch; those that it does not
    fill are None.

    Args:
        branch_field: Names of all views, e.g. ``['labeled', 'weak', 'strong']``.
        **branch_pipelines: A list of transforms for each view that this sample fills.

    Returns:
        dict: ``{'inputs': {view: tensor or None}, 'data_samples': {view: sample or None}}``.
    """

    def __init__(self, branch_field: Sequence[str], **branch_pipelines: list) -> None:
        unknown = set(branch_pipelines) - set(branch_field)
        if unknown or not branch_pipelines:
            raise SetupError(
                f'MultiBranch: pipelines for {sorted(branch_pipelines)}, expected one or more of '
                f'branch_field={list(branch_field)}'
            )
        self.branch_field = tuple(branch_field)
        self.branches = {
            name: Compose([TRANSFORMS.build(s) if isinstance(s, dict) else s for s in steps])
            for name, steps in branch_pipelines.items()
        }
        # transforms of this package never write into an array that they were given
        self._copies_arrays = {
            name: any(
                type(step).__module__.partition('.')[0] != __name__.partition('.')[0]
                for step in pipeline.transforms
            )
            for name, pipeline in self.branches.items()
        }

    def transform(self, results: dict) -> dict:
        """Run every branch on its own copy."""
        packed = {
            name: pipeline(_copy(results, self._copies_arrays[name]))
            for name, pipeline in self.branches.items()
        }
        return {
            key: {name: packed.get(name, {}).get(key) for name in self.branch_field}
            for key in ('inputs', 'data_samples')
        }

    def __repr__(self) -> str:
        return f'{type(self).__name__}(branches={list(self.branches)})'


def _copy(results: dict, arrays: bool) -> dict:
    """A deep copy of a sample, with or without copies of the images and maps in it."""
    return {
        key: value if isinstance(value, np.ndarray) and not arrays else copy.deepcopy(value)
        for key, value in results.items()
    }
