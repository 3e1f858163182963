"""Data sets of own folders, and the loaders of any image and any mask."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmseg_semi.data.own_data import PARTS, OwnData
from mmseg_semi.data.transforms import LoadImage, _read, _unreadable
from mmseg_semi.errors import SetupError


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """Images of own folders, described by one small file; no lists.

    Its pipelines start with ``LoadAnyImage`` and, where there are masks, ``LoadAnyLabels``.

    Args:
        data_file: YAML or JSON file, or its content as a dict (:class:`.own_data.OwnData`).
        part: 'labeled', 'unlabeled', 'val' or 'test'.
        **kwargs: Other arguments of :class:`mmseg.datasets.BaseSegDataset`, such as ``pipeline``.

    Raises:
        SetupError: If the file, a key of it or a folder is not as it must be.
    """

    def __init__(self, data_file: str | Mapping, part: str = 'labeled', **kwargs) -> None:
        if part not in PARTS:
            raise SetupError(f'FolderDataset: part={part!r}, expected one of {", ".join(PARTS)}')
        self.own = OwnData(data_file)
        self.part = part
        if kwargs.get('ann_file'):
            raise SetupError(
                f'FolderDataset: ann_file={kwargs["ann_file"]!r}, but its images are all those of '
                f'{self.own.source}; remove the key'
            )
        metainfo = dict(classes=self.own.mask_map.names, palette=self.own.palette)
        super().__init__(
            **{
                **kwargs,
                'metainfo': metainfo,
                'data_root': None,
                'data_prefix': dict(img_path=str(self.own.folder)),  # names count from here
                'img_suffix': '',
                'reduce_zero_label': False,
            }
        )

    def load_data_list(self) -> list[dict]:
        """Images and masks of the part."""
        return [dict(entry, seg_fields=[]) for entry in self.own.files(self.part)]

    def get_data_info(self, idx: int) -> dict:
        """Entry of an image, with what its loaders need to know."""
        info = super().get_data_info(idx)
        info['mask_map'], info['value_range'] = self.own.mask_map, self.own.value_range
        return info


@TRANSFORMS.register_module()
class LoadAnyImage(LoadImage):
    """Read an image of any format that Pillow or OpenCV reads, as uint8 BGR.

    - 8 bits a channel: as it is, as by ``LoadImage``.
    - More bits, or fractions: ``value_range`` (low, high) becomes 0 .. 255 linearly, rounded, and what
      lies outside is cut off. The range is the data set's, else the argument's, else 0 .. 65535 for
      16-bit images; fractions have no default.
    - One channel becomes three equal ones; an alpha channel is dropped; of several pages the first
      counts.

    Args:
        value_range: (low, high) of images with more than 8 bits. Defaults to None.
        **kwargs: Arguments of ``LoadImage``.

    Raises:
        SetupError: If the file is missing, truncated or no image, has other channels, or needs a
            range.
    """

    def __init__(self, value_range: Sequence[float] | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.value_range = value_range

    def transform(self, results: dict) -> dict:
        """Add ``img`` (H, W, 3), ``img_shape`` and ``ori_shape`` (H, W)."""
        path = results['img_path']
        content = results.pop('img_bytes', None)
        if content is None:
            content = _read(path, 'image', self.backend_args, results.get('img_span'))
        try:
            deep = _read_deep(content)
        except Exception as error:  # each decoder raises its own kinds
            raise _unreadable(path, 'image', content, error) from error
        value_range = results.pop('value_range', None) or self.value_range
        if deep is None:
            return super().transform(dict(results, img_bytes=content))
        if deep.ndim == 3 and deep.shape[2] not in (1, 3, 4):
            raise SetupError(
                f'image {path} has {deep.shape[2]} channels, expected 1, 3 or 4; export three of them'
            )
        if deep.dtype == np.uint8:
            value_range = (0, 255)
        if value_range is None:
            if deep.dtype.kind == 'f' or deep.min() < 0 or deep.max() > 65535:
                raise SetupError(
                    f'image {path} holds {deep.dtype} values of {deep.min():.4g} to {deep.max():.4g}; '
                    'say which become black and white: value_range: [LOW, HIGH] in the data file, or '
                    'value_range=(LOW, HIGH) of LoadAnyImage'
                )
            value_range = (0, 65535)
        low, high = value_range
        scaled = (np.nan_to_num(deep.astype(np.float32)) - low) * (255 / (high - low))
        img = np.rint(scaled).clip(0, 255).astype(np.uint8)
        img = img[..., None] if img.ndim == 2 else img
        img = np.repeat(img, 3, 2) if img.shape[2] == 1 else img[..., :3]
        results['img'] = np.ascontiguousarray(img)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(value_range={self.value_range})'


def _read_deep(content: bytes) -> np.ndarray | None:
    """Values of an image that ``LoadImage`` would not read, or not as it is, in BGR; else None."""
    try:
        img = Image.open(io.BytesIO(content))
    except OSError as error:
        array = _by_opencv(content)
        if array is None:
            raise error
        return array
    if img.mode in ('I', 'F') or img.mode.startswith('I;'):
        return np.asarray(img)
    # Pillow halves the bits of deep images in colour, silently
    bits = 8
    if img.format == 'PNG':
        bits = content[24]
    elif img.format == 'TIFF':
        bits = max(img.tag_v2.get(258, (8,)))
    elif img.format in ('JPEG2000', 'PPM'):
        bits = 16
    if bits <= 8:
        return None
    img.load()  # tells a truncated file, where OpenCV fills up
    array = _by_opencv(content)
    return None if array is None or array.dtype == np.uint8 else array


def _by_opencv(content: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@TRANSFORMS.register_module()
class LoadAnyLabels(LoadAnnotations):
    """Read a mask of a :class:`FolderDataset` as class indices, whatever its values or colours are.

    Args:
        backend_args: File backend of MMEngine, None for the local disk. Defaults to None.

    Raises:
        SetupError: If the mask cannot be read, holds values that nothing maps, or has another size
            than its image.
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
        # as the file has it: test-time augmentation has resized the image by now
        height, width = results.get('ori_shape', labels.shape)
        if labels.shape != (height, width):
            raise SetupError(
                f'mask {path} is {labels.shape[1]} x {labels.shape[0]} pixels, but its image '
                f'{results["img_path"]} is {width} x {height}; both must have the same size'
            )
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
