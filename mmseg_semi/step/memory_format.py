"""The memory format of images, weights and feature maps: channels-last or contiguous (channels first).

In channels-last the channels of a pixel lie side by side. Convolutions then read whole vectors, and a pixel's feature is a row
of memory that can be taken without gathering it channel by channel. The values are the same in both formats, up to the order in
which kernels sum.
"""

from collections.abc import Sequence

import torch
from mmengine.device import get_device
from torch import Tensor, nn

from mmseg_semi.class_scores import is_channels_last
from mmseg_semi.errors import SetupError

MEMORY_FORMATS = {'channels_last': torch.channels_last, 'contiguous': torch.contiguous_format}
"""Names of the config to torch's formats."""

DEFAULTS = {'cpu': 'channels_last', 'cuda': 'channels_last'}
"""Default by device; 'contiguous' on all others, whose kernels for channels-last maps are not complete."""


def choose_memory_format(name: str | None) -> torch.memory_format:
    """The format of a config's name.

    Args:
        name: 'channels_last', 'contiguous', or None for the default of the device that a run would use.

    Raises:
        SetupError: Another name.

    Example:
        >>> choose_memory_format('contiguous')
        torch.contiguous_format
    """
    if name is None:
        name = DEFAULTS.get(get_device(), 'contiguous')
    if name not in MEMORY_FORMATS:
        raise SetupError(
            f'model.memory_format={name!r}: expected one of {[*MEMORY_FORMATS]}, or None for the default of the device'
        )
    return MEMORY_FORMATS[name]


WIDE = 1024
"""Input channels from which on a spatial convolution stays contiguous on a CPU, see :func:`set_memory_format`."""


def set_memory_format(module: nn.Module, format_: torch.memory_format) -> None:
    """Give all weights of a module a format, but for convolutions that are slow in it.

    On a CPU, oneDNN takes 2.2 to 2.6 times as long for the weight gradient of a wide undilated 3 x 3 convolution from
    channels-last maps as from contiguous ones (docs/performance.md). Such convolutions, the bottlenecks of PSPNet, UPerNet and
    FCN heads, keep contiguous weights and get contiguous maps.
    """
    module.to(memory_format=format_)
    if format_ is not torch.channels_last or get_device() != 'cpu':
        return
    for part in module.modules():
        if (
            isinstance(part, nn.Conv2d)
            and part.in_channels >= WIDE
            and part.groups == 1
            and max(part.kernel_size) > 1
            and max(part.dilation) == 1
        ):
            part.weight.data = part.weight.data.contiguous()
            if _contiguous_maps not in part._forward_pre_hooks.values():
                part.register_forward_pre_hook(_contiguous_maps)


def _contiguous_maps(convolution: nn.Conv2d, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # a convolution computes channels-last if its maps or its weights are
    return tuple(maps.contiguous() for maps in inputs)


def split_images(maps: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
    """Parts of the images of (N, C, H, W) maps, as ``maps.split(sizes)``.

    Its backward pass writes one gradient in the format of the maps, with zeros where a part has none. That of ``split`` fills
    contiguous maps with zeros for such parts, and the result then is contiguous, too.

    Args:
        maps: (N, C, H, W).
        sizes: Images of each part, N together.

    Example:
        >>> first, second = split_images(torch.ones(3, 2, 4, 4, requires_grad=True), [1, 2])
        >>> first.shape, second.shape
        (torch.Size([1, 2, 4, 4]), torch.Size([2, 2, 4, 4]))
    """
    return (maps,) if len(sizes) == 1 else _SplitImages.apply(maps, tuple(sizes))


class _SplitImages(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.sizes = sizes
        ctx.shape = maps.shape
        ctx.format = torch.channels_last if is_channels_last(maps) else torch.contiguous_format
        return maps.split(sizes)

    @staticmethod
    def backward(ctx, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        known = next((gradient for gradient in gradients if gradient is not None), None)
        if known is None:
            return None, None
        result = torch.empty(
            ctx.shape, dtype=known.dtype, device=known.device, memory_format=ctx.format
        )
        for part, gradient in zip(result.split(ctx.sizes), gradients, strict=True):
            if gradient is None:
                part.zero_()
            else:
                part.copy_(gradient)
        return result, None
