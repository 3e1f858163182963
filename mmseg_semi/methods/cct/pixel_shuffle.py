"""CCT's decoder, alone and as a stack of K.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005; behaviour checked against
https://github.com/yassouali/CCT (65d4e5b). A decoder is pointwise: its logits at a cell of the
feature grid depend on the features of that cell alone. So K decoders are a few batched matrix
products, and no pixel has to be shuffled to its place: :func:`unshuffle` brings the target to the
decoders' order once. :class:`PixelShuffleTail` is the plain form of these products;
:class:`BufferedTail` computes them and their gradients part by part in the same memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError

FINAL_ACTS = ('relu', None)
BIAS_INITS = ('replicate', 'uniform')

_threshold = torch.ops.aten.threshold_backward.grad_input  # the gradient of a ReLU, in place


def check_decoder(upscale: int, final_act: str | None, bias_init: str, key: str) -> None:
    """Check the settings of a :class:`PixelShuffleDecoder`.

    Args:
        upscale: Upsampling factor.
        final_act: Activation of the last level.
        bias_init: Initialisation of the biases.
        key: Config key of the decoder, for the error.

    Raises:
        SetupError: If the factor is no power of two, or another setting is unknown.
    """
    if upscale < 1 or upscale & (upscale - 1):
        raise SetupError(f'{key}.upscale={upscale}: expected a power of two (8 at output stride 8)')
    if final_act not in FINAL_ACTS or bias_init not in BIAS_INITS:
        raise SetupError(
            f'{key}: final_act={final_act!r}, bias_init={bias_init!r}; expected final_act from '
            f'{FINAL_ACTS} and bias_init from {BIAS_INITS}'
        )


class PixelShuffleDecoder(nn.Module):
    """Classify features and upsample the logits by pixel shuffles.

    The layers are a 1x1 convolution to C classes without bias, then log2(upscale) times a 1x1
    convolution C -> 4C, a ReLU and PixelShuffle(2). The last activation is a ReLU, so the logits
    are not negative, as in the released code. A class whose logit is 0 everywhere then has no
    gradient any more. ``final_act=None`` leaves the last ReLU out.

    A convolution before a shuffle makes four pixels of one. It starts with equal weights for
    the four (ICNR, https://arxiv.org/abs/1707.02937). With ``bias_init='replicate'`` their biases
    are equal, too, so a new decoder makes no checkerboard. The released code keeps torch's biases
    ('uniform'), which differ.

    Args:
        in_channels: Channels of the features (512).
        num_classes: Number of classes C.
        upscale: Upsampling factor, a power of two (8).
        final_act: Activation of the last level, 'relu' or None.
        bias_init: Initialisation of the biases, 'replicate' or 'uniform'.

    Raises:
        SetupError: If a setting is out of range.

    Shape:
        (N, in_channels, h, w) -> (N, C, upscale h, upscale w).

    Example:
        >>> decoder = PixelShuffleDecoder(in_channels=16, num_classes=3, upscale=4)
        >>> decoder(torch.rand(2, 16, 5, 7)).shape
        torch.Size([2, 3, 20, 28])
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
        """Map features to logits, (N, C, upscale h, upscale w)."""
        x = self.project(x)
        for index, level in enumerate(self.levels):
            x = level(x)
            if self.final_act is not None or index < len(self.levels) - 1:
                x = F.relu(x)
            x = F.pixel_shuffle(x, 2)
        return x


class DecoderStack(nn.Module):
    """Hold K decoders like :class:`PixelShuffleDecoder`, each with its weights, as stacked tensors.

    Args:
        count: Number of decoders K (30 in all).
        kwargs: Arguments of a :class:`PixelShuffleDecoder`.

    State:
        project: (K, C, in_channels), the first convolutions.
        weights.<i>: (K, 4C, C) for each level i.
        biases.<i>: (K, 4C) for each level i.

    Example:
        >>> decoders = DecoderStack(count=4, in_channels=16, num_classes=3, upscale=2)
        >>> features = torch.rand(16, 35)  # 35 cells
        >>> decoders.tail(decoders.project @ features, *decoders.levels).shape
        torch.Size([4, 3, 140])
        >>> decoders.single(0)(features.view(1, 16, 5, 7)).shape
        torch.Size([1, 3, 10, 14])
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
            torch.stack([conv.weight.detach()[..., 0, 0] for conv in level]) for level in levels
        )
        self.biases = nn.ParameterList(
            torch.stack([conv.bias.detach() for conv in level]) for level in levels
        )

    def __len__(self) -> int:
        return len(self.project)

    @property
    def levels(self) -> list[Tensor]:
        """Weight and bias of each level in turn, the arguments of :attr:`tail`."""
        return [tensor for pair in zip(self.weights, self.biases, strict=True) for tensor in pair]

    @torch.no_grad()
    def single(self, index: int) -> PixelShuffleDecoder:
        """Return a copy of decoder ``index``."""
        decoder = PixelShuffleDecoder(**self.settings).to(self.project)
        decoder.project.weight.copy_(self.project[index, :, :, None, None])
        for level, weight, bias in zip(decoder.levels, self.weights, self.biases, strict=True):
            level.weight.copy_(weight[index, :, :, None, None])
            level.bias.copy_(bias[index])
        return decoder

    @property
    def tail(self) -> 'PixelShuffleTail':
        """All layers after the first convolution, a function of :attr:`levels`."""
        return PixelShuffleTail(self.final_act)


@dataclass(frozen=True)
class PixelShuffleTail:
    """All layers of K decoders after the first convolution, without moving a pixel.

    Args:
        final_act: Activation of the last level, 'relu' or None.
    """

    final_act: str | None

    def __call__(self, lifted: Tensor, *levels: Tensor) -> Tensor:
        """Map projected features to logits.

        Args:
            lifted: (K, C, P), the projected features of P cells.
            levels: :attr:`DecoderStack.levels`, or tensors in their place.

        Returns:
            (K, C, S P) logits with S = 4^levels; the S pixels of a cell have the order of
            :func:`unshuffle`.
        """
        count, classes, _ = lifted.shape
        last = len(levels) // 2 - 1
        for index in range(last + 1):
            weight, bias = levels[2 * index : 2 * index + 2]
            lifted = torch.baddbmm(bias[:, :, None], weight, lifted)
            if self.final_act is not None or index < last:
                lifted = lifted.relu()
            # channel 4c + r of a cell is class c of its r-th part, so the shuffle is a new view
            lifted = lifted.reshape(count, classes, -1)
        return lifted

    def passes(self, levels: Sequence[Tensor]) -> 'BufferedTail':
        """Return the same function with a backward pass by hand, on memory that is reused."""
        return BufferedTail(levels, self.final_act)


class BufferedTail:
    """Forward and backward of a :class:`PixelShuffleTail` by hand, part by part of the cells.

    Autograd takes new memory for every result of every part, and new memory is not in a CPU's
    cache: most passes over it take several times as long as those over memory used before. Here
    every part writes where the last one wrote.

    Args:
        levels: Weight and bias of each level in turn, see :attr:`DecoderStack.levels`.
        final_act: Activation of the last level, 'relu' or None.

    Example:
        >>> decoders = DecoderStack(count=4, in_channels=16, num_classes=3, upscale=2)
        >>> passes = decoders.tail.passes(decoders.levels)
        >>> scores = passes.forward(torch.rand(4, 3, 35))
        >>> sums = [torch.zeros_like(tensor) for tensor in decoders.levels]
        >>> passes.backward(torch.ones_like(scores), sums).shape
        torch.Size([4, 3, 35])
    """

    def __init__(self, levels: Sequence[Tensor], final_act: str | None) -> None:
        self._weights = [weight.detach() for weight in levels[::2]]
        self._biases = [bias.detach()[:, :, None] for bias in levels[1::2]]
        self._active = [True] * len(self._weights)
        if self._active:
            self._active[-1] = final_act is not None
        self._memory = Memory()

    @torch.no_grad()
    def forward(self, lifted: Tensor) -> Tensor:
        """Map (K, C, P) to logits (K, C, S P), which the next call overwrites."""
        self._inputs = [lifted]
        for index, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            x = self._inputs[-1]
            out = self._memory.take(f'out {index}', (*weight.shape[:2], x.shape[2]), x)
            torch.baddbmm(bias, weight, x, out=out)
            if self._active[index]:
                out.relu_()
            # channel 4c + r of a cell is class c of its r-th part, so the shuffle is a new view
            self._inputs.append(out.view(*lifted.shape[:2], -1))
        return self._inputs[-1]

    @torch.no_grad()
    def backward(self, gradient: Tensor, totals: Sequence[Tensor] | None = None) -> Tensor:
        """Take the gradient of the last forward pass; it can be taken several times.

        Args:
            gradient: (K, C, S P), contiguous, with respect to the logits; overwritten.
            totals: Tensors like the levels, to which their gradients are added; None: not taken.

        Returns:
            (K, C, P), with respect to the input; the next call overwrites it.
        """
        for index in reversed(range(len(self._weights))):
            weight, x, out = self._weights[index], self._inputs[index], self._inputs[index + 1]
            if self._active[index]:
                _threshold(gradient, out, 0, grad_input=gradient)
            gradient = gradient.view(*weight.shape[:2], -1)
            if totals is not None:
                of_weight = totals[2 * index]
                torch.baddbmm(of_weight, gradient, x.transpose(1, 2), out=of_weight)
                totals[2 * index + 1] += gradient.sum(dim=2)
            of_x = self._memory.take(f'of x {index}', x.shape, x)
            gradient = torch.bmm(weight.transpose(1, 2), gradient, out=of_x)
        return gradient


class Memory:
    """Blocks of memory by name, each as large as its largest use so far."""

    def __init__(self) -> None:
        self._blocks: dict[str, Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return a contiguous tensor of a shape, with the values of the block's last use."""
        size = math.prod(shape)
        block = self._blocks.get(name)
        if block is None or len(block) < size:
            block = self._blocks[name] = like.new_empty(size)
        return block[:size].view(*shape)


def unshuffle(maps: Tensor, num_levels: int) -> Tensor:
    """Bring pixels to the order in which :class:`PixelShuffleTail` makes them.

    Args:
        maps: (N, C, s h, s w) with s = 2^num_levels.
        num_levels: Number of pixel shuffles between the feature grid and the maps (3).

    Returns:
        (N, C, s^2, h w), the pixels of each cell; those of the last shuffle are outermost.

    Example:
        >>> pixels = torch.arange(8).view(1, 1, 2, 4)
        >>> unshuffle(pixels, num_levels=1)[0, 0]  # a column per cell
        tensor([[0, 2],
                [1, 3],
                [4, 6],
                [5, 7]])
    """
    n, c, height, width = maps.shape
    side = 2**num_levels
    maps = maps.reshape(n, c, height // side, *[2] * num_levels, width // side, *[2] * num_levels)
    rows = [3 + i for i in range(num_levels)]
    columns = [4 + num_levels + i for i in range(num_levels)]
    pixels = [dim for pair in zip(reversed(rows), reversed(columns), strict=True) for dim in pair]
    maps = maps.permute(0, 1, *pixels, 2, 3 + num_levels)
    return maps.reshape(n, c, side * side, (height // side) * (width // side))
