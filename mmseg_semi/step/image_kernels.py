"""The first convolution of pretrained weights for images of other bands than red, green and blue.

A published network has three kernels in its first layer. :func:`adapt_kernels` makes as many as there are
bands, so that a network gives for equal bands what the published one gives for grey: the sum over the
input channels stays what it was, and with it the scale of all that follows. timm's ``adapt_input_conv``
(R. Wightman, https://github.com/huggingface/pytorch-image-models) repeats the kernels and multiplies by
3 / N, which keeps the scale on average; here the colours' own kernels go to the bands that are colours.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

_SCHEME = 'bands://'


def image_channels(network: nn.Module) -> int | None:
    """Channels of the images that a network takes: those of its first convolution, None without one.

    Example:
        >>> image_channels(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3)))
        4
    """
    backbone = getattr(network, 'backbone', network)
    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    first = next(convolutions, None)
    return None if first is None else first.in_channels


def adapt_kernels(weight: Tensor, channels: int, colour: Sequence[int] | None = None) -> Tensor:
    """Kernels for images of other bands; the sum over the input channels stays.

    - With ``colour``, these bands have the kernels of red, green and blue, and each other one their mean,
      all multiplied by 3 / channels.
    - Without, three bands keep the kernels; more repeat them (red, green, blue, red, ...), each divided by
      the number of bands that have it; one or two share the sum of the kernels.

    Args:
        weight: (out, 3, kh, kw), for red, green and blue.
        channels: Number of bands.
        colour: Positions of red, green and blue among the bands, or None.

    Returns:
        Tensor: (out, channels, kh, kw).

    Example:
        >>> weight = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
        >>> adapt_kernels(weight, 4, colour=(2, 1, 0)).flatten().tolist()
        [4.5, 1.5, 0.75, 2.25]
        >>> adapt_kernels(weight, 4).flatten().tolist()
        [0.5, 2.0, 6.0, 0.5]
    """
    if colour is not None:
        adapted = weight.mean(1, keepdim=True).repeat(1, channels, 1, 1)
        adapted[:, list(colour)] = weight
        return adapted * (3 / channels)
    if channels < 3:
        return (weight.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)
    kernel = torch.arange(channels) % 3
    share = kernel.bincount(minlength=3).to(weight)[kernel].view(1, -1, 1, 1)
    return weight[:, kernel] / share


@contextmanager
def kernels_for_bands(root: nn.Module, colour: Sequence[int] | None) -> Iterator[None]:
    """Within it, pretrained weights of three channels load into modules that take others, adapted.

    Each ``init_cfg=dict(type='Pretrained', checkpoint=...)`` of a module whose first convolution has other
    channels, or of any if ``colour`` is given, names its file by a scheme meanwhile that adapts the file's
    tensors; so modules that load in ways of their own are served too.

    Args:
        root: A network that is not initialised yet.
        colour: Positions of red, green and blue among the bands, or None.
    """
    changed = []
    for module in root.modules():
        channels = image_channels(module)
        if channels is None or (channels == 3 and colour in (None, (0, 1, 2))):
            continue
        configs = getattr(module, 'init_cfg', None)
        for config in [configs] if isinstance(configs, dict) else configs or []:
            if config.get('type') == 'Pretrained':
                changed.append((config, config['checkpoint']))
                bands = ','.join(map(str, colour or ()))
                config['checkpoint'] = f'{_SCHEME}{channels}:{bands}/{config["checkpoint"]}'
    try:
        yield
    finally:
        for config, path in changed:
            config['checkpoint'] = path


def plain_checkpoint(path: str) -> str:
    """The name of a checkpoint as the config has it, without :func:`kernels_for_bands`'s scheme."""
    return re.sub(rf'^{_SCHEME}[^/]*/', '', path)


@CheckpointLoader.register_scheme(prefixes=_SCHEME)
def _load_for_bands(filename: str, map_location: str | None = None) -> dict:
    channels, bands = filename[len(_SCHEME) :].partition('/')[0].split(':')
    colour = tuple(map(int, bands.split(','))) if bands else None
    loaded = CheckpointLoader.load_checkpoint(
        plain_checkpoint(filename), map_location=map_location, logger='silent'
    )
    state = loaded.get('state_dict', loaded)
    for key, value in state.items():
        # no other layer of these networks has three input channels
        if torch.is_tensor(value) and value.ndim == 4 and value.shape[1] == 3:
            state[key] = adapt_kernels(value, int(channels), colour)
            break
    return loaded
