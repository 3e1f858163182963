"""CCT's decoder, alone and as a stack of K (CVPR 2020, arXiv 2003.09005; github.com/yassouali/CCT).

A decoder is pointwise: what it answers at a cell of the feature grid depends on the features of that cell alone. K of
them are therefore a few batched matrix products, and no pixel has to be shuffled to its place to be compared: the
target is brought to the decoders' order once (:func:`unshuffle`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError

FINAL_ACTS = ('relu', None)
BIAS_INITS = ('replicate', 'uniform')


def check_decoder(upscale: int, final_act: str | None, bias_init: str, key: str) -> None:
    """Raise SetupError unless the settings are those of a :class:`PixelShuffleDecoder`."""
    if upscale < 1 or upscale & (upscale - 1):
        raise SetupError(f'{key}.upscale={upscale}: expected a power of two (8 at output stride 8)')
    if final_act not in FINAL_ACTS or bias_init not in BIAS_INITS:
        raise SetupError(
            f'{key}: final_act={final_act!r}, bias_init={bias_init!r}; expected final_act of {FINAL_ACTS} and bias_init '
            f'of {BIAS_INITS}'
        )


class PixelShuffleDecoder(nn.Module):
    """A 1x1 convolution to K classes without bias, then log2(upscale) times: 1x1 convolution K -> 4K, ReLU, PixelShuffle(2).

    The last operation is a ReLU, so class scores are not negative, as in the released code; a class whose score is 0
    everywhere gets no gradient any more. ``final_act=None`` leaves the last ReLU out.

    The convolutions in front of a shuffle start with equal weights for the four pixels they make of one (ICNR, arXiv
    1707.02937). With ``bias_init='replicate'`` their biases are equal, too, so a new decoder makes no checkerboard; the
    released code keeps torch's biases ('uniform'), which differ.

    Args:
        in_channels: Channels of the features.
        num_classes: K.
        upscale: A power of two: side of the output over that of the features.
        final_act: 'relu' or None.
        bias_init: 'replicate' or 'uniform'.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        upscale: int = 8,
        final_act: str | None = 'relu',
        bias_init: str = 'replicate',
    ) -> None:
        super().__init__()
        check_decoder(upscale, final_act, bias_init, type(self).__name__)
        self.in_channels, self.num_classes, self.upscale = in_channels, num_classes, upscale
        self.final_act = final_act
        self.project = nn.Conv2d(in_channels, num_classes, 1, bias=False)
        nn.init.kaiming_normal_(self.project.weight, nonlinearity='relu')
        self.levels = nn.ModuleList(
            nn.Conv2d(num_classes, 4 * num_classes, 1) for _ in range(int(math.log2(upscale)))
        )
        for level in self.levels:
            kernel = torch.empty(num_classes, num_classes, 1, 1)
            nn.init.kaiming_normal_(kernel)
            with torch.no_grad():
                level.weight.copy_(kernel.repeat_interleave(4, dim=0))
                if bias_init == 'replicate':
                    level.bias.copy_(level.bias[::4].repeat_interleave(4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, h, w) -> class scores (N, K, upscale h, upscale w)."""
        x = self.project(x)
        for index, level in enumerate(self.levels):
            x = level(x)
            if self.final_act is not None or index < len(self.levels) - 1:
                x = F.relu(x)
            x = F.pixel_shuffle(x, 2)
        return x


class DecoderStack(nn.Module):
    """K decoders of :class:`PixelShuffleDecoder`'s form, each with weights of its own, in stacked parameters.

    Args:
        count: K, the number of decoders.
        kwargs: Of a decoder.

    State: ``project`` (K, C, in_channels); for each level ``weights.<i>`` (K, 4C, C) and ``biases.<i>`` (K, 4C).
    """

    def __init__(self, count: int, **kwargs) -> None:
        super().__init__()
        decoders = [PixelShuffleDecoder(**kwargs) for _ in range(count)]
        self.settings = kwargs
        self.final_act, self.num_levels = decoders[0].final_act, len(decoders[0].levels)

        self.project = nn.Parameter(
            torch.stack([decoder.project.weight.detach()[..., 0, 0] for decoder in decoders])
        )
        levels = list(zip(*(decoder.levels for decoder in decoders), strict=True))
        self.weights = nn.ParameterList(
            torch.stack([level.weight.detach()[..., 0, 0] for level in own]) for own in levels
        )
        self.biases = nn.ParameterList(
            torch.stack([level.bias.detach() for level in own]) for own in levels
        )

    def __len__(self) -> int:
        return len(self.project)

    @property
    def levels(self) -> list[Tensor]:
        """What :meth:`tail` takes: weight and bias of each level, in turn."""
        return [tensor for pair in zip(self.weights, self.biases, strict=True) for tensor in pair]

    @torch.no_grad()
    def single(self, index: int) -> PixelShuffleDecoder:
        """Decoder ``index`` by itself, a copy."""
        decoder = PixelShuffleDecoder(**self.settings).to(self.project)
        decoder.project.weight.copy_(self.project[index, :, :, None, None])
        for level, weight, bias in zip(decoder.levels, self.weights, self.biases, strict=True):
            level.weight.copy_(weight[index, :, :, None, None])
            level.bias.copy_(bias[index])
        return decoder

    def tail(self, lifted: Tensor, *levels: Tensor) -> Tensor:
        """Everything behind the first convolution, without moving a pixel.

        Args:
            lifted: (k, C, P), the projected features of P cells.
            levels: :attr:`levels` of the k decoders, or tensors in their place.

        Returns:
            (k, C, S P), S = 4^levels: class scores, the S pixels of a cell in the order of :func:`unshuffle`.
        """
        count, classes, _ = lifted.shape
        last = len(levels) // 2 - 1
        for index in range(last + 1):
            weight, bias = levels[2 * index : 2 * index + 2]
            lifted = torch.baddbmm(bias[:, :, None], weight, lifted)
            if self.final_act is not None or index < last:
                lifted = lifted.relu()
            # channel 4c + r of a cell is class c of its r-th part: the shuffle is another way to read the memory
            lifted = lifted.reshape(count, classes, -1)
        return lifted


def unshuffle(maps: Tensor, num_levels: int) -> Tensor:
    """Pixels in the order in which :meth:`DecoderStack.tail` makes them.

    Args:
        maps: (N, C, s h, s w) with s = 2^num_levels.
        num_levels: Pixel shuffles between the feature grid and the maps.

    Returns:
        (N, C, s^2, h w): for each cell its pixels, those of the last shuffle outermost.
    """
    n, c, height, width = maps.shape
    side = 2**num_levels
    maps = maps.reshape(n, c, height // side, *[2] * num_levels, width // side, *[2] * num_levels)
    rows = [3 + i for i in range(num_levels)]
    columns = [4 + num_levels + i for i in range(num_levels)]
    pixels = [dim for pair in zip(reversed(rows), reversed(columns), strict=True) for dim in pair]
    maps = maps.permute(0, 1, *pixels, 2, 3 + num_levels)
    return maps.reshape(n, c, side * side, (height // side) * (width // side))
