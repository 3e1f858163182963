"""DeepLabV3+'s head as in the authors' code of DDFP and DGCL, split in two stages.

DeepLabV3+ is L.-C. Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611. The decoder follows
https://github.com/Gavinwxy/DDFP (7956c72) and https://github.com/Gavinwxy/DGCL (1f3ea3f). It
differs from MMSegmentation's ``DepthwiseSeparableASPPHead`` in: plain 3x3 convolutions; the pooled
branch comes first in the pyramid; low-level features come first in the fusion; channel dropout
follows every decoder block; ``align_corners=True``; torch's default initialisation. Norms follow
``norm_cfg`` (SyncBN in the released runs).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.class_scores import is_channels_last
from mmseg_semi.errors import SetupError
from mmseg_semi.heads.decode_losses import decode_losses
from mmseg_semi.heads.two_stage import HeadOutput


def _conv_norm_relu(
    in_channels: int,
    out_channels: int,
    kernel: int,
    norm_cfg: dict,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """Build convolution, norm and ReLU that keep the size of the map."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias),
        build_norm_layer(norm_cfg, out_channels)[1],
        nn.ReLU(inplace=True),
    )


def _upsample(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Resize to ``size``, bilinearly."""
    # warning=False: resize's warning reads the sizes as numbers, and an exported graph would keep
    # the size of its example input.
    return resize(x, size=size, mode='bilinear', align_corners=align_corners, warning=False)


class ASPP(nn.Module):
    """Concatenate image pooling, a 1x1 convolution and dilated 3x3 convolutions, in this order.

    Atrous spatial pyramid pooling (L.-C. Chen et al., https://arxiv.org/abs/1706.05587).

    Args:
        in_channels: Channels of the backbone's output (2048).
        channels: Channels of each branch (256).
        dilations: Dilations of the 3x3 branches.
        norm_cfg: Config of the norms.

    Example:
        >>> pyramid = ASPP(32, 16, dilations=(6, 12, 18), norm_cfg=dict(type='BN'))
        >>> pyramid(torch.randn(2, 32, 8, 8)).shape
        torch.Size([2, 80, 8, 8])
    """

    def __init__(
        self, in_channels: int, channels: int, dilations: Sequence[int], norm_cfg: dict
    ) -> None:
        super().__init__()
        self.pool = _conv_norm_relu(in_channels, channels, 1, norm_cfg)
        self.branches = nn.ModuleList([_conv_norm_relu(in_channels, channels, 1, norm_cfg)])
        for dilation in dilations:
            self.branches.append(_conv_norm_relu(in_channels, channels, 3, norm_cfg, dilation))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, h, w) to (N, (2 + number of dilations) * channels, h, w)."""
        # expand: bilinear upsampling of a 1x1 map is a constant map
        pooled = self.pool(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        if is_channels_last(x):
            # a map without memory of its own would make cat write a contiguous result, which is then copied
            pooled = pooled.contiguous(memory_format=torch.channels_last)
        return torch.cat([pooled, *(branch(x) for branch in self.branches)], dim=1)


@MODELS.register_module()
class DeepLabV3PlusHead(BaseDecodeHead):
    """Decode a low-level and a high-level backbone output, as DeepLabV3+ does.

    In two stages (``heads/two_stage.py``): :meth:`embed` gives v = concat(low-level map,
    upsampled ASPP), (N, ``low_channels`` + ``channels``, h, w), at the low-level resolution.
    :meth:`classify` applies two blocks of 3x3 convolution, norm, ReLU and dropout, and the 1x1
    classifier. :meth:`lift` is the first 3x3 convolution.

    Args:
        in_channels: Channels of the (low-level, high-level) backbone outputs (256, 2048).
        channels: Channels of ASPP and decoder (256).
        num_classes: Number of classes K.
        in_index: Indices of the backbone outputs: (0, 3) are the first, at stride 4, and the last.
        low_channels: Channels of the reduced low-level map (48).
        dilations: Dilations of the ASPP: 6, 12, 18 at output stride 16; 12, 24, 36 at stride 8.
        dropout_ratio: Channel dropout after each decoder block, in [0, 1) (0.1).
        align_corners: ``align_corners`` of every bilinear resize.
        kwargs: Arguments of ``BaseDecodeHead``: ``norm_cfg``, ``loss_decode``, ``sampler``, ...

    Raises:
        SetupError: If ``in_channels`` or ``in_index`` is not a pair.

    Example:
        >>> head = DeepLabV3PlusHead((8, 32), 16, num_classes=3, in_index=(0, 1), low_channels=4)
        >>> fused = head.embed([torch.randn(2, 8, 16, 16), torch.randn(2, 32, 4, 4)])
        >>> features, logits, _ = head.classify(fused)
        >>> fused.shape[1], features.shape, logits.shape
        (20, torch.Size([2, 16, 16, 16]), torch.Size([2, 3, 16, 16]))
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 2048),
        channels: int = 256,
        *,
        num_classes: int,
        in_index: Sequence[int] = (0, 3),
        low_channels: int = 48,
        dilations: Sequence[int] = (6, 12, 18),
        dropout_ratio: float = 0.1,
        align_corners: bool = True,
        init_cfg: dict | list | None = None,
        **kwargs,
    ) -> None:
        if len(tuple(in_channels)) != 2 or len(tuple(in_index)) != 2:
            raise SetupError(
                f'{type(self).__name__}: in_channels={in_channels}, in_index={in_index}; expected '
                'two of each, low-level and high-level, for instance in_channels=(256, 2048), '
                'in_index=(0, 3)'
            )
        super().__init__(
            in_channels=list(in_channels),
            channels=channels,
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform='multiple_select',
            dropout_ratio=0.0,  # the second block ends with dropout, so cls_seg must not drop again
            align_corners=align_corners,
            init_cfg=init_cfg,  # None: torch's default, as in the released decoder
            **kwargs,
        )
        norm_cfg = self.norm_cfg or dict(type='BN')
        self.dropout_ratio = dropout_ratio
        self.aspp = ASPP(self.in_channels[1], channels, dilations, norm_cfg)
        self.bottleneck = _conv_norm_relu(
            (2 + len(tuple(dilations))) * channels, channels, 3, norm_cfg
        )
        self.low = _conv_norm_relu(self.in_channels[0], low_channels, 1, norm_cfg, bias=True)
        self.fused_channels = low_channels + channels
        self.conv1 = nn.Conv2d(self.fused_channels, channels, 3, padding=1)
        self.norm1 = build_norm_layer(norm_cfg, channels)[1]
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = build_norm_layer(norm_cfg, channels)[1]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.dropout_ratio, self.training)

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map backbone outputs to the fused features v, (N, low_channels + channels, h, w)."""
        low, high = self._transform_inputs(inputs)
        high = self._drop(self.bottleneck(self.aspp(high)))
        high = _upsample(high, low.shape[2:], self.align_corners)
        return torch.cat([self.low(low), high], dim=1)

    def lift(self, fused: Tensor) -> Tensor:
        """Map v to u = W1 * v + b1, (N, channels, h, w): stage 2 up to its first norm."""
        return self.conv1(fused)

    def lift_delta(self, delta: Tensor) -> Tensor:
        """Return W1 * delta, which equals ``lift(v + delta) - lift(v)``."""
        return F.conv2d(delta, self.conv1.weight, padding=1)

    def lift_transpose(self, grad: Tensor) -> Tensor:
        """Map a gradient with respect to u to one with respect to v; no weight gets a gradient."""
        return F.conv_transpose2d(grad, self.conv1.weight.detach(), padding=1)

    def _norm(self, index: int, x: Tensor, branches: tuple[int, int] | None) -> Tensor:
        """Apply norm 1 or 2 of the decoder."""
        if branches is not None and branches[1]:
            raise SetupError(
                f'{type(self).__name__} has no auxiliary norms, but an objective sends '
                f"{branches[1]} images through them: use decode_head=dict(type='DDFPHead', "
                'split_norms=True, ...)'
            )
        return getattr(self, f'norm{index}')(x)

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """Map u to penultimate features x, (N, channels, h, w), non-negative."""
        x = self._drop(F.relu(self._norm(1, lifted, branches)))
        return self._drop(F.relu(self._norm(2, self.conv2(x), branches)))

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Map u to features and logits, (N, K, h, w)."""
        features = self.features(lifted, branches)
        return HeadOutput(features, self.cls_seg(features))

    def classify(self, fused: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Stage 2: map v to features and logits, (N, K, h, w)."""
        return self.finish(self.lift(fused), branches)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict:
        """Compute the base class's losses and ``acc_seg`` without waiting for the device."""
        label = self._stack_batch_gt(batch_data_samples)
        logits = _upsample(seg_logits, label.shape[2:], self.align_corners)
        return decode_losses(self, logits, label)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map backbone outputs to logits, (N, K, h, w), through the deployed norms."""
        return self.classify(self.embed(inputs)).logits
