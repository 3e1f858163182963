"""Fills a config from the bands that its data file describes.

With ``bands`` in the data file (:mod:`mmseg_semi.data.bands`) the number of bands decides three places of
a config: what the backbone takes, what the data preprocessor subtracts and divides by, and what reads
single images. :func:`fill_bands` sets them, so that a run's saved config and a published one hold all
numbers and need no data file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_semi.data.bands import Bands
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError

_IMAGENET_STD = 57.63
"""Mean standard deviation of ImageNet's three colours, in levels of 0 to 255."""

_THREE_ONLY = {
    'ColourAfterMixing': "a mixing without it, such as dict(type='ClassMix'), with the strong view of "
    'configs/_base_/datasets/semi.py',
    'DeferColour': 'the strong branch of configs/_base_/datasets/semi.py',
    'LoadImage': 'LoadAnyImage',
    'LoadImageFromFile': 'LoadAnyImage',
    'PadAllMaps': 'RandomScaleCrop',
    'PhotoMetricDistortion': 'PILColorJitter',
    'RandomIntensity': 'PILColorJitter and PILGaussianBlur',
}
"""What knows images of red, green and blue alone -> what to use instead."""


def bands_of(cfg: Config) -> tuple[Bands, str] | None:
    """The bands of the labelled images, and the name of the file that describes them.

    Returns:
        None if the config has no own data, its data file does not exist, or it has no ``bands``.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    labeled = dataset.get('labeled') if isinstance(dataset, Mapping) else None
    given = labeled.get('data_file') if isinstance(labeled, Mapping) else None
    if given is None or not (isinstance(given, Mapping) or Path(given).is_file()):
        return None
    own = OwnData(given)
    return None if own.bands is None else (own.bands, own.source)


def fill_bands(cfg: Config) -> None:
    """Set the places of a config that depend on bands; a config that has them already stays as it is.

    - ``model.student.backbone.in_channels`` (and ``model.peer``'s);
    - ``mean`` and ``std`` of the inner data preprocessor, in levels. The deviation is such that a band has
      the deviation after normalisation that ImageNet's colours have with the config's own numbers, which
      is what pretrained weights expect: 1 with ImageNet's, 0.45 with those of EfficientNet-Lite;
    - ``model.data_preprocessor.bands``;
    - ``bands`` of every ``LoadAnyImage`` outside of training, and of the hook that draws predictions.

    Args:
        cfg: Changed in place.

    Raises:
        SetupError: If the statistics are missing, the config contradicts the file, or uses a transform
            that knows three colours alone.
    """
    found = bands_of(cfg)
    if found is None or 'student' not in (cfg.get('model') or {}):
        return
    bands, source = found
    bands.need_statistics(source)
    _refuse_three_only(cfg, source)
    model = cfg.model
    for name in ('student', 'peer'):
        if isinstance(model.get(name), Mapping) and 'backbone' in model[name]:
            _set_in_channels(model[name].backbone, f'model.{name}.backbone', bands, source)
    preprocessor = model.data_preprocessor
    own = dict(channels=bands.channels, colour=list(bands.colour) if bands.colour else None)
    if 'bands' not in preprocessor:
        _set_normalisation(preprocessor.data_preprocessor, bands, model.student.backbone)
        preprocessor.bands = own
    elif dict(preprocessor.bands) != own:
        raise SetupError(
            f'model.data_preprocessor.bands={dict(preprocessor.bands)}, but the bands of {source} are '
            f'{own}; remove the key, which is set from the file'
        )
    hooks = cfg.get('default_hooks') or {}
    shown = hooks.get('visualization')
    if isinstance(shown, Mapping) and shown.get('type') == 'SegVisualizationHook':
        hooks['visualization'] = {
            **shown,
            'type': 'BandsVisualizationHook',
            'bands': bands.as_dict(),
        }
    for part in ('test_pipeline', 'tta_pipeline', 'val_dataloader', 'test_dataloader'):
        for step in _steps(cfg.get(part)):
            if step.get('type') == 'LoadAnyImage':
                step.setdefault('bands', bands.as_dict())


def _set_in_channels(backbone: dict, key: str, bands: Bands, source: str) -> None:
    given = backbone.setdefault('in_channels', bands.channels)
    if given != bands.channels:
        raise SetupError(
            f'{key}.in_channels={given}, but {source} describes {bands.channels} bands; remove the key, '
            'which is set from the file'
        )


def _set_normalisation(inner: dict, bands: Bands, backbone: dict) -> None:
    swaps = inner.get('bgr_to_rgb') or inner.get('rgb_to_bgr')
    pretrained = backbone.get('init_cfg') or backbone.get('pretrained')
    if pretrained and not swaps and bands.colour is not None:
        raise SetupError(
            'model.data_preprocessor.data_preprocessor has bgr_to_rgb=False, so the pretrained weights '
            'take blue, green, red, which is not known for bands; use weights that take red, green, blue, '
            'or model.student.backbone.init_cfg=None'
        )
    if inner.get('type') not in ('SegDataPreProcessor', 'BandsDataPreprocessor'):
        raise SetupError(
            f"model.data_preprocessor.data_preprocessor.type='{inner.get('type')}' is not known to normalise "
            "bands; use 'SegDataPreProcessor', which becomes 'BandsDataPreprocessor'"
        )
    inner['type'] = 'BandsDataPreprocessor'
    given = inner.get('std') or [_IMAGENET_STD]
    factor = sum(given) / len(given) / _IMAGENET_STD
    mean, std = bands.level_statistics()
    inner['mean'], inner['std'] = mean, [value * factor for value in std]
    for key in ('bgr_to_rgb', 'rgb_to_bgr'):
        inner.pop(key, None)


def _refuse_three_only(cfg: Config, source: str) -> None:
    places = {
        key: cfg.get(key)
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'tta_pipeline')
    }
    places['model.mixing'] = cfg.model.get('mixing')
    for place, node in places.items():
        for step in _steps(node):
            kind = str(step.get('type')).rpartition('.')[2]
            if kind == 'Resize' and step.get('backend') == 'pillow':
                raise SetupError(
                    f"{place} uses Resize with backend='pillow', which resizes 8 bits alone, but {source} describes "
                    'bands; use ResizeAnyImage, which resamples bands as Pillow does'
                )
            if kind in _THREE_ONLY:
                raise SetupError(
                    f'{place} uses {kind}, which knows red, green and blue alone, but {source} describes '
                    f'bands; use {_THREE_ONLY[kind]}'
                )


def _steps(node: Any) -> Iterator[dict]:
    """All dicts with a type in a part of a config."""
    if isinstance(node, Mapping):
        if 'type' in node:
            yield node
        node = list(node.values())
    elif not isinstance(node, list | tuple):
        return
    for child in node:
        yield from _steps(child)
