"""Views and packing: one pipeline per view, and the sample that the model receives."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE


@TRANSFORMS.register_module()
class PackSemiInputs(PackSegInputs):
    """Pack a sample as MMSegmentation's PackSegInputs does, with what an unlabelled image adds.

    Reads: ``img`` (H, W, 3) uint8; ``gt_seg_map`` (H, W), if the image is labelled;
    ``gt_valid_map`` (H, W) uint8, 255 for padding; ``gt_given_map`` (H, W) uint8, noisy labels of
    an unlabelled image;
    ``colour`` and ``more_colours``, the operations that :class:`.DeferColour` has drawn.

    Writes a new dict: ``inputs`` (3, H, W) uint8, and ``data_samples`` with

    - ``gt_sem_seg``, if there is ``gt_seg_map``; padding is label 255 (ignored) there;
    - ``valid_map``, PixelData of (1, H, W) bool, False for padding, if there is ``gt_valid_map``;
    - ``given_map``, PixelData of (1, H, W) uint8, if there is ``gt_given_map``;
    - ``colour`` and ``more_colours`` in its metainfo, if there are any.

    Args:
        meta_keys: Keys that go into the metainfo, as in PackSegInputs.

    Example:
        >>> results = dict(img=np.zeros((2, 2, 3), np.uint8))
        >>> results['gt_valid_map'] = np.uint8([[0, 0], [255, 255]])
        >>> packed = PackSemiInputs(meta_keys=()).transform(results)
        >>> packed['data_samples'].valid_map.data.tolist()
        [[[True, True], [False, False]]]
    """

    def transform(self, results: dict) -> dict:
        """Pack one sample into ``inputs`` and ``data_samples``."""
        img = results['img']
        if img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3:
            # channels first in memory: the parent class then takes a third of the time
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
        colours = {key: results[key] for key in ('colour', 'more_colours') if key in results}
        if colours:
            packed['data_samples'].set_metainfo(colours)
        return packed


@TRANSFORMS.register_module()
class MultiBranch(BaseTransform):
    """Send a sample through one pipeline per view (same role as in MMDetection).

    The views share what comes before this transform: put geometry there and colour into the
    branches. Every sample, labelled or not, lists all views of the batch; a view that it does not
    fill is None.

    Reads: what the pipelines read; each works on its own copy of the sample.

    Writes a new dict: ``inputs``, {view: (3, H, W) uint8 or None}, and ``data_samples``,
    {view: sample or None}.

    Args:
        branch_field: Names of all views, e.g. ``['labeled', 'weak', 'strong']``.
        **branch_pipelines: A list of transforms for each view that this sample fills.

    Raises:
        SetupError: If no pipeline is given, or one for a view that ``branch_field`` does not name.

    Example:
        >>> pack = dict(type='PackSemiInputs', meta_keys=())
        >>> split = MultiBranch(['labeled', 'weak'], weak=[pack])
        >>> packed = split.transform(dict(img=np.zeros((2, 4, 3), np.uint8)))
        >>> packed['inputs']['labeled'], packed['inputs']['weak'].shape
        (None, torch.Size([3, 2, 4]))
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
        # transforms of this package never write into an array that they receive
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
