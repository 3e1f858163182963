"""Loading, weak geometry and strong colour for semi-supervised training.

The recipe is the one that DDFP and UniMatch share: relative random resize, padding on the right and
at the bottom, random crop and flip for every image; colour jitter, greyscale and Gaussian blur for
the strong view alone. Geometry happens once, before :class:`MultiBranch` splits an unlabelled
sample into its weak and its strong view, so the two views match pixel by pixel.

Pillow does the resampling and the colour, as in the authors' code: its bilinear filter is
antialiased when it shrinks, and its colour operators are those of torchvision's PIL back end.
"""

from __future__ import annotations

import copy
import io
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
from PIL import Image, ImageEnhance, ImageFilter, UnidentifiedImageError

from mmseg_semi.errors import SetupError

IGNORE = 255
"""Label of pixels that nothing is learned from: void classes and padding."""


# ---------------------------------------------------------------------------------------- loading


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Read an image as uint8 BGR, or say which file cannot be read.

    Pillow decodes it, because it reports a truncated file where OpenCV fills up with grey.

    Args:
        imdecode_backend: Decoder of :func:`mmcv.imfrombytes`. Defaults to 'pillow'.
        backend_args: File backend of MMEngine, None for the local disk. Defaults to None.

    Raises:
        SetupError: If the file is missing, truncated or no image.
    """

    def __init__(self, imdecode_backend: str = 'pillow', backend_args: dict | None = None) -> None:
        super().__init__(imdecode_backend=imdecode_backend, backend_args=backend_args)

    def transform(self, results: dict) -> dict:
        """Add ``img`` (H, W, 3), ``img_shape`` and ``ori_shape`` (H, W)."""
        path = results['img_path']
        content = _read(path, 'image', self.backend_args)
        try:
            img = mmcv.imfrombytes(content, backend=self.imdecode_backend, channel_order='rgb')
        except Exception as error:  # each decoder raises its own kinds
            raise _unreadable(path, 'image', content, error) from error
        if img is None:
            raise _unreadable(path, 'image', content, 'the decoder returned nothing')
        results['img'] = cv2.cvtColor(img, cv2.COLOR_RGB2BGR)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results


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


def _read(path: str, kind: str, backend_args: dict | None) -> bytes:
    try:
        return fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise SetupError(
            f'{kind} {path} does not exist; add the file, or take its name out of the list'
        ) from error
    except OSError as error:
        raise SetupError(f'{kind} {path} cannot be read: {error}') from error


def _unreadable(path: str, kind: str, content: bytes, reason) -> SetupError:
    if isinstance(reason, UnidentifiedImageError):  # its text shows a buffer's address
        reason = 'no image format that Pillow knows'
    reason = ' '.join(str(reason).split()) or type(reason).__name__
    return SetupError(
        f'{kind} {path} ({len(content)} bytes) cannot be decoded ({reason}); replace the file, or '
        'take its name out of the list'
    )


# --------------------------------------------------------------------------------- weak geometry


@TRANSFORMS.register_module()
class RandomRelativeResize(BaseTransform):
    """Resize relative to the image's own size, aspect kept.

    The long side becomes a uniform integer in [int(low * L), int(high * L)], L being its length now;
    the short side is rounded. Images are resampled by Pillow's bilinear filter (antialiased), label
    and validity maps by its nearest. (MMCV's RandomResize draws relative to a fixed scale.)

    Args:
        ratio_range: (low, high), 0 < low <= high. Defaults to (0.5, 2.0).
    """

    def __init__(self, ratio_range: Sequence[float] = (0.5, 2.0)) -> None:
        low, high = ratio_range
        if not 0 < low <= high:
            raise SetupError(
                f'RandomRelativeResize: ratio_range={tuple(ratio_range)}, expected 0 < low <= high'
            )
        self.ratio_range = (low, high)

    def transform(self, results: dict) -> dict:
        """Resize ``img`` and every map in ``seg_fields``."""
        height, width = results['img'].shape[:2]
        long_side = max(height, width)
        low, high = (int(ratio * long_side) for ratio in self.ratio_range)
        size = _keep_aspect(width, height, np.random.randint(max(low, 1), max(high, 1) + 1))
        results['img'] = _resize(results['img'], size, Image.Resampling.BILINEAR)
        for key in results.get('seg_fields', []):
            results[key] = _resize(results[key], size, Image.Resampling.NEAREST)
        results['img_shape'] = size[::-1]
        results['scale'] = size
        results['scale_factor'] = (size[0] / width, size[1] / height)
        results['keep_ratio'] = True
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio_range={self.ratio_range})'


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


def _resize(array: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Resize (H, W) or (H, W, 3) uint8; ``size`` is (width, height)."""
    # a copy: torch warns about Pillow's read-only buffers
    return np.array(Image.fromarray(array).resize(size, method))


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


# --------------------------------------------------------------------------------- strong colour


@TRANSFORMS.register_module()
class PILColorJitter(BaseTransform):
    """Jitter brightness, contrast, saturation and hue in random order (torchvision's, on Pillow).

    The factors are uniform in [max(0, 1 - v), 1 + v], the hue shift in [-hue, hue] turns.

    Args:
        prob: Probability that anything happens. Defaults to 0.8.
        brightness: 0 or more. Defaults to 0.5.
        contrast: 0 or more. Defaults to 0.5.
        saturation: 0 or more. Defaults to 0.5.
        hue: In [0, 0.5]. Defaults to 0.25.
    """

    def __init__(
        self,
        prob: float = 0.8,
        brightness: float = 0.5,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.25,
    ) -> None:
        _check_probability('PILColorJitter', prob)
        for name, value in (
            ('brightness', brightness),
            ('contrast', contrast),
            ('saturation', saturation),
        ):
            if value < 0:
                raise SetupError(f'PILColorJitter: {name}={value}, expected 0 or more')
        if not 0 <= hue <= 0.5:
            raise SetupError(f'PILColorJitter: hue={hue}, expected 0 to 0.5 turns')
        self.prob = prob
        self.brightness, self.contrast, self.saturation, self.hue = (
            brightness,
            contrast,
            saturation,
            hue,
        )

    def transform(self, results: dict) -> dict:
        """Change ``img``."""
        if np.random.rand() >= self.prob:
            return results
        steps = [
            (adjust_brightness, self._factor(self.brightness)),
            (adjust_contrast, self._factor(self.contrast)),
            (adjust_saturation, self._factor(self.saturation)),
            (adjust_hue, np.random.uniform(-self.hue, self.hue)),
        ]
        img = _to_pil(results['img'])
        for i in np.random.permutation(len(steps)):
            adjust, amount = steps[i]
            img = adjust(img, amount)
        results['img'] = _to_bgr(img)
        return results

    @staticmethod
    def _factor(value: float) -> float:
        return np.random.uniform(max(0.0, 1.0 - value), 1.0 + value)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, brightness={self.brightness}, '
            f'contrast={self.contrast}, saturation={self.saturation}, hue={self.hue})'
        )


def adjust_brightness(img: Image.Image, factor: float) -> Image.Image:
    """Scale an RGB image towards (factor < 1) or away from black."""
    return ImageEnhance.Brightness(img).enhance(factor)


def adjust_contrast(img: Image.Image, factor: float) -> Image.Image:
    """Scale an RGB image towards or away from the mean of its luma."""
    return ImageEnhance.Contrast(img).enhance(factor)


def adjust_saturation(img: Image.Image, factor: float) -> Image.Image:
    """Scale an RGB image towards or away from its luma, pixel by pixel."""
    return ImageEnhance.Color(img).enhance(factor)


def adjust_hue(img: Image.Image, turns: float) -> Image.Image:
    """Turn the hue of an RGB image.

    Hue is an 8-bit circle. As in torchvision, a turn counts as 255 levels, and fractions of a level
    are cut off.
    """
    shift = int(turns * 255)
    hue, saturation, value = img.convert('HSV').split()
    hue = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')


@TRANSFORMS.register_module()
class PILGrayscale(BaseTransform):
    """Replace the colours by their luma (ITU-R 601-2), in all three channels.

    Args:
        prob: Probability. Defaults to 0.2.
    """

    def __init__(self, prob: float = 0.2) -> None:
        _check_probability('PILGrayscale', prob)
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change ``img``."""
        if np.random.rand() < self.prob:
            luma = np.asarray(_to_pil(results['img']).convert('L'))
            results['img'] = np.repeat(luma[..., None], 3, axis=2)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'


@TRANSFORMS.register_module()
class PILGaussianBlur(BaseTransform):
    """Blur by Pillow's Gaussian filter (three box filters of the same variance).

    Args:
        prob: Probability. Defaults to 0.5.
        radius: Range of the standard deviation in pixels, uniform. Defaults to (0.1, 2.0).
    """

    def __init__(self, prob: float = 0.5, radius: Sequence[float] = (0.1, 2.0)) -> None:
        _check_probability('PILGaussianBlur', prob)
        low, high = radius
        if not 0 <= low <= high:
            raise SetupError(f'PILGaussianBlur: radius={tuple(radius)}, expected 0 <= low <= high')
        self.prob = prob
        self.radius = (low, high)

    def transform(self, results: dict) -> dict:
        """Change ``img``."""
        if np.random.rand() < self.prob:
            # the filter treats channels alike, so BGR may stay BGR
            img = Image.fromarray(results['img'])
            img = img.filter(ImageFilter.GaussianBlur(np.random.uniform(*self.radius)))
            results['img'] = np.array(img)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, radius={self.radius})'


def _check_probability(name: str, prob: float) -> None:
    if not 0 <= prob <= 1:
        raise SetupError(f'{name}: prob={prob}, expected 0 to 1')


def _to_pil(img: np.ndarray) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(img, cv2.COLOR_BGR2RGB))


def _to_bgr(img: Image.Image) -> np.ndarray:
    return cv2.cvtColor(np.asarray(img), cv2.COLOR_RGB2BGR)


# ------------------------------------------------------------------------------ views and packing


@TRANSFORMS.register_module()
class PackSemiInputs(PackSegInputs):
    """MMSegmentation's PackSegInputs, with the validity of an unlabelled image's pixels.

    Adds ``data_sample.valid_map``, PixelData of shape (1, H, W) bool, True where the pixel is real and
    False where it is padding. Samples with labels need none: their padding is label 255.
    """

    def transform(self, results: dict) -> dict:
        """Pack one sample into ``inputs`` (3, H, W) uint8 and ``data_samples``."""
        packed = super().transform(results)
        if 'gt_valid_map' in results:
            valid = torch.from_numpy(results['gt_valid_map'] != IGNORE)
            packed['data_samples'].valid_map = PixelData(data=valid[None])
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

    def transform(self, results: dict) -> dict:
        """Run every branch on its own copy."""
        packed = {
            name: pipeline(copy.deepcopy(results)) for name, pipeline in self.branches.items()
        }
        return {
            key: {name: packed.get(name, {}).get(key) for name in self.branch_field}
            for key in ('inputs', 'data_samples')
        }

    def __repr__(self) -> str:
        return f'{type(self).__name__}(branches={list(self.branches)})'
