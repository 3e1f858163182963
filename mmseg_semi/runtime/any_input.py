"""Test pipelines of this package for inputs that are files or arrays, as MMSegmentation's inference gives them."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS

from mmseg_semi.data.transforms.loading import LoadImage
from mmseg_semi.runtime.labelling import without_labels


def is_own(pipeline: Sequence[Any]) -> bool:
    """Whether a pipeline begins with a loader of this package."""
    kind = pipeline[0].get('type') if pipeline else None
    kind = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, LoadImage)


class AnyInput:
    """Begins a pipeline in the place of its loader: takes a path, an array, or the results dict of either.

    An array (H, W, 3) of uint8 is blue, green, red, as MMSegmentation has it. Others (more bits, other numbers of bands) are
    what a file would hold: the loader maps their values and picks their bands.

    Args:
        loader: Config of the loader.
    """

    def __init__(self, loader: dict) -> None:
        self.loader = TRANSFORMS.build(dict(loader))

    def __call__(self, given: Any) -> dict:
        results = (
            given if isinstance(given, dict) else {'img' if _is_array(given) else 'img_path': given}
        )
        if not _is_array(results.get('img')):
            return self.loader(dict(results))
        img = results['img']
        if (
            img.dtype == np.uint8
            and img.shape[2:] == (3,)
            and getattr(self.loader, 'bands', None) is None
        ):
            shape = img.shape[:2]
            return dict(results, img_path=None, img=img, img_shape=shape, ori_shape=shape)
        content = io.BytesIO()
        np.save(content, img)
        return self.loader(dict(img_path='array.npy', img_bytes=content.getvalue()))


def _is_array(given: Any) -> bool:
    return isinstance(given, np.ndarray)


def build(pipeline: Sequence[Any]) -> Compose:
    """A test pipeline without labels, whose input is a path or an array."""
    first, *rest = without_labels(pipeline)
    return Compose([AnyInput(first), *(dict(step) for step in rest)])


def prepare(imgs: Any, pipeline: Sequence[Any]) -> tuple[dict, bool]:
    """What ``mmseg.apis.inference_model`` gives its model: collated inputs, and whether it got a list.

    Args:
        imgs: A path or an array, or a list of them.
        pipeline: The test pipeline.
    """
    several = isinstance(imgs, list | tuple)
    compose = build(pipeline)
    data = defaultdict(list)
    for img in imgs if several else [imgs]:
        packed = compose(img)
        data['inputs'].append(packed['inputs'])
        data['data_samples'].append(packed['data_samples'])
    return data, several
