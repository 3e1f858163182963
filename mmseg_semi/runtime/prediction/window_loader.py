"""The model's loader for windows of a file, which arrive as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmseg.registry import TRANSFORMS

from mmseg_semi.data.transforms.loading import LoadAnyImage, LoadImage
from mmseg_semi.runtime.prediction.sources import value_keys

if TYPE_CHECKING:
    from mmseg_semi.runtime.prediction.predictor import Predictor


def window_loader(predictor: Predictor) -> Callable[[dict], dict]:
    """From ``dict(img_path, img_bytes)`` to what the model's loader makes of a file with these bytes.

    Loaders of this package take bytes. MMSegmentation's own ``LoadImageFromFile`` does not; ``LoadAnyImage`` stands in
    for it, which gives the same pixels for images of 8 bits.
    """
    step = predictor.model.pipeline[0]
    kind = TRANSFORMS.get(step['type']) if isinstance(step['type'], str) else step['type']
    if isinstance(kind, type) and issubclass(kind, LoadImage):
        loader = TRANSFORMS.build(dict(step))
    else:
        loader = LoadAnyImage()
    return lambda results: loader({**results, **value_keys(predictor.model.own)})
