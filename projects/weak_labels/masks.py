"""Weak masks from class maps: two thresholds and refinement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

from .cams import SCALES, check_scales, multi_scale_cams
from .crf import Refinement, build_refinement


@dataclass(frozen=True)
class MaskSettings:
    """Settings that turn class maps into masks.

    Args:
        foreground: Background score of the label map that classes are taken from, in (0, 1).
        background: Background score of the label map that background is taken from, at most
            ``foreground``.
        background_class: Class of pixels that are background in both label maps. None: 255, for
            data whose image labels do not cover all classes, or without a background class.
        scales: Factors of the image's size at which maps are computed.
        crf: A refinement's name, or ``dict(type=NAME, ...)``.
        classes: Names of the classes whose maps are used; None: all classes with image labels.
    """

    foreground: float = 0.30
    background: float = 0.05
    background_class: int | None = 0
    scales: tuple[float, ...] = SCALES
    crf: dict = field(default_factory=lambda: dict(type='mean_field'))
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.background <= self.foreground < 1:
            raise SetupError(
                f'masks: foreground={self.foreground}, background={self.background}; expected '
                '0 < background <= foreground < 1'
            )
        object.__setattr__(self, 'scales', check_scales(tuple(self.scales)))
        crf = {'type': self.crf} if isinstance(self.crf, str) else dict(self.crf)
        object.__setattr__(self, 'crf', crf)

    def as_dict(self) -> dict:
        """The settings in plain types, for the record beside the masks."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def of(cls, config: dict | None) -> MaskSettings:
        """Settings from ``mask_settings`` of a config.

        Raises:
            SetupError: If a key is unknown or a value is out of range.
        """
        try:
            return cls(**(config or {}))
        except TypeError as error:
            raise SetupError(f'mask_settings: {error}') from error


def two_threshold_mask(
    foreground: np.ndarray, background: np.ndarray, background_class: int | None = 0
) -> np.ndarray:
    """Combine two label maps into one mask.

    (class c, anything) -> c; (background, background) -> background; (background, class) -> 255.

    Args:
        foreground: (H, W) class indices of the map with the high threshold, -1 for background.
        background: (H, W) class indices of the map with the low threshold, -1 for background.
        background_class: Value of background in the mask; None: 255.

    Returns:
        np.ndarray: (H, W) uint8.
    """
    mask = np.full(foreground.shape, IGNORE, np.uint8)
    if background_class is not None:
        mask[(foreground < 0) & (background < 0)] = background_class
    return np.where(foreground >= 0, foreground, mask).astype(np.uint8)


def label_map(
    maps: np.ndarray,
    threshold: float,
    classes: Sequence[int],
    image: np.ndarray,
    refinement: Refinement,
) -> np.ndarray:
    """Label pixels with their strongest class, or background below the threshold, and refine.

    Args:
        maps: (P, H, W) in [0, 1].
        threshold: Constant score of the background.
        classes: P class indices.
        image: (H, W, 3) uint8.
        refinement: Refines the P + 1 labels.

    Returns:
        np.ndarray: (H, W) int64 class indices, -1 for background.
    """
    scores = np.concatenate([np.full((1, *maps.shape[1:]), threshold, maps.dtype), maps])
    labels = refinement.refine(image, scores.argmax(axis=0), len(scores))
    return np.array([-1, *classes], np.int64)[labels]


def make_mask(
    model: torch.nn.Module,
    image: np.ndarray,
    target: np.ndarray,
    metainfo: dict,
    settings: MaskSettings,
    refinement: Refinement,
) -> np.ndarray:
    """Compute the weak mask of one image.

    Args:
        model: A :class:`~projects.weak_labels.classifier.MultiLabelClassifier` in evaluation mode.
        image: (H, W, 3) uint8 BGR.
        target: (C,) image labels, 0 or 1 for each output.
        metainfo: ``classes`` and ``indices`` of the outputs.
        settings: Thresholds, scales and used classes.
        refinement: From :func:`make_refinement`.

    Returns:
        np.ndarray: (H, W) uint8.
    """
    used = settings.classes
    present = [
        output
        for output in np.flatnonzero(target).tolist()
        if used is None or metainfo['classes'][output] in used
    ]
    maps = multi_scale_cams(model, image, present, settings.scales).cpu().numpy()
    classes = [metainfo['indices'][output] for output in present]
    high, low = (
        label_map(maps, threshold, classes, image, refinement)
        for threshold in (settings.foreground, settings.background)
    )
    return two_threshold_mask(high, low, settings.background_class)


def make_refinement(settings: MaskSettings, device: torch.device | str) -> Refinement:
    """Build the refinement of the settings."""
    return build_refinement(settings.crf, device)
