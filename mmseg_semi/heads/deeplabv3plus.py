"""The DeepLabV3+ decoder of DDFP and DGCL (github.com/Gavinwxy/DDFP, github.com/Gavinwxy/DGCL), split in two stages.

Departures from mmseg's ``DepthwiseSeparableASPPHead``: plain 3x3 convolutions, the pooled branch first, low-level
features first in the fusion, channel dropout after every decoder block, ``align_corners=True``, torch's default
initialisation. Norms follow ``norm_cfg`` (SyncBN in the released runs).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

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
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias),
        build_norm_layer(norm_cfg, out_channels)[1],
        nn.ReLU(inplace=True),
    )


def _upsample(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    # without resize's advice on sizes, which reads them as numbers: an exported graph would keep the size it was traced at
    return resize(x, size=size, mode='bilinear', align_corners=align_corners, warning=False)


class ASPP(nn.Module):
    """Image pooling, a 1x1 and three dilated 3x3 convolutions, concatenated in this order (arXiv 1706.05587)."""

    def __init__(
        self, in_channels: int, channels: int, dilations: Sequence[int], norm_cfg: dict
    ) -> None:
        super().__init__()
        self.pool = _conv_norm_relu(in_channels, channels, 1, norm_cfg)
        self.branches = nn.ModuleList([_conv_norm_relu(in_channels, channels, 1, norm_cfg)])
        for dilation in dilations:
            self.branches.append(_conv_norm_relu(in_channels, channels, 3, norm_cfg, dilation))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, h, w) -> (N, (2 + number of dilations) * channels, h, w)."""
        # bilinear upsampling of a 1x1 map is a constant map
        pooled = self.pool(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return torch.cat([pooled, *(branch(x) for branch in self.branches)], dim=1)


@MODELS.register_module()
class DeepLabV3PlusHead(BaseDecodeHead):
    """DeepLabV3+ in two stages.

    Stage 1 (:meth:`embed`): v = concat(low-level ``low_channels``, ASPP ``channels``) at the low-level resolution.
    Stage 2 (:meth:`classify`): two 3x3 conv-norm-ReLU-dropout blocks, then the 1x1 classifier. The first convolution
    alone is :meth:`lift`; being affine, it lets a perturbation of v reuse the clean pass (:meth:`lift_delta`).

    Args:
        in_channels: Channels of (low-level, high-level) backbone outputs.
        channels: Width of ASPP and decoder (256 in the papers).
        num_classes: K.
        in_index: Backbone outputs used, (stride 4, last).
        low_channels: Channels of the reduced low-level map.
        dilations: The ASPP's dilations; 6, 12, 18 at output stride 16.
        dropout_ratio: Channel dropout after each decoder block, in [0, 1).
        align_corners: Of every bilinear resize.
        kwargs: ``BaseDecodeHead``'s ``norm_cfg``, ``loss_decode``, ``ignore_index``, ...

    Raises:
        SetupError: ``in_channels`` or ``in_index`` is not a pair.
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
                f'{type(self).__name__}: in_channels={in_channels}, in_index={in_index}; expected two of each, '
                'low-level and high-level, for instance in_channels=(256, 2048), in_index=(0, 3)'
            )
        super().__init__(
            in_channels=list(in_channels),
            channels=channels,
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform='multiple_select',
            dropout_ratio=0.0,  # cls_seg must not drop again: the second block ends with dropout
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
        """Backbone outputs -> fused decoder input v, (N, low_channels + channels, h, w)."""
        low, high = self._transform_inputs(inputs)
        high = self._drop(self.bottleneck(self.aspp(high)))
        high = _upsample(high, low.shape[2:], self.align_corners)
        return torch.cat([self.low(low), high], dim=1)

    def lift(self, fused: Tensor) -> Tensor:
        """u = W1 * v + b1, (N, channels, h, w): everything of stage 2 before the first norm."""
        return self.conv1(fused)

    def lift_delta(self, delta: Tensor) -> Tensor:
        """``lift(v + delta) - lift(v)`` = W1 * delta."""
        return F.conv2d(delta, self.conv1.weight, padding=1)

    def lift_transpose(self, grad: Tensor) -> Tensor:
        """Gradient with respect to v from the gradient with respect to u: W1 transposed. No weight gets a gradient."""
        return F.conv_transpose2d(grad, self.conv1.weight.detach(), padding=1)

    def _norm(self, index: int, x: Tensor, branches: tuple[int, int] | None) -> Tensor:
        if branches is not None and branches[1]:
            raise SetupError(
                f'{type(self).__name__} has one branch of norms and was asked to route {branches[1]} rows to a second: '
                "use decode_head=dict(type='DDFPHead', split_norms=True, ...)"
            )
        return getattr(self, f'norm{index}')(x)

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """u -> penultimate features x, (N, channels, h, w), non-negative."""
        x = self._drop(F.relu(self._norm(1, lifted, branches)))
        return self._drop(F.relu(self._norm(2, self.conv2(x), branches)))

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """u -> features and logits. ``branches``: rows of the (clean, auxiliary) norms; None is all clean."""
        features = self.features(lifted, branches)
        return HeadOutput(features, self.cls_seg(features))

    def classify(self, fused: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Stage 2: v -> features and logits."""
        return self.finish(self.lift(fused), branches)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict:
        """The base class's losses and ``acc_seg`` without its reads of device counts (boolean indexing)."""
        label = self._stack_batch_gt(batch_data_samples)
        logits = _upsample(seg_logits, label.shape[2:], self.align_corners)
        return decode_losses(self, logits, label)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone outputs -> (N, K, h, w) logits of the clean branch."""
        return self.classify(self.embed(inputs)).logits
