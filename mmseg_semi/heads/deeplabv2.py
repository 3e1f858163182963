"""The DeepLabV2 head of the authors' code of ClassMix (arXiv 2007.07936) and MLLC (arXiv 2404.02065)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead
from mmseg_semi.heads.two_stage import HeadOutput, NoFirstLayer

STD = 0.01
"""Of all initial convolution weights."""


def init_convolutions(module: nn.Module, zero_bias: Sequence[nn.Module] = ()) -> None:
    """N(0, 0.01^2) for every convolution's weights, 0 for the biases of ``zero_bias``; the rest keeps torch's default."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=STD)
    for layer in zero_bias:
        nn.init.zeros_(layer.bias)


class DilatedPyramid(nn.Module):
    """Five parallel convolutions, squeeze-and-excitation, and a 3x3 fusion without activation.

    Args:
        in_channels: Of the backbone's output.
        channels: Width of each branch and of the result (256).
        dilations: Of the 3x3 branches, beside the 1x1 one.
        groups: Of the GroupNorms.
        reduction: Of the squeeze-and-excitation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        groups: int = 32,
        reduction: int = 16,
    ) -> None:
        super().__init__()

        def branch(kernel: int, dilation: int) -> nn.Sequential:
            padding = dilation * (kernel // 2)
            return nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel, padding=padding, dilation=dilation),
                nn.GroupNorm(groups, channels),
                nn.ReLU(inplace=True),
            )

        self.branches = nn.ModuleList([branch(1, 1), *(branch(3, d) for d in dilations)])
        width = channels * len(self.branches)
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)
        self.fusion = nn.Conv2d(width, channels, 3, padding=1)
        self.norm = nn.GroupNorm(groups, channels)

    def init_values(self) -> None:
        """N(0, 0.01^2); not called ``init_weights``, which MMEngine would call by itself."""
        init_convolutions(self, zero_bias=[self.fusion])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, h, w) -> (N, channels, h, w)."""
        x = torch.cat([branch(x) for branch in self.branches], dim=1)
        gate = self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))).sigmoid()
        return self.norm(self.fusion(x * gate[:, :, None, None]))


@MODELS.register_module()
class DeepLabV2Head(NoFirstLayer, BaseDecodeHead):
    """DeepLabV2 with GroupNorm and squeeze-and-excitation, at the resolution of one backbone output.

    In two stages: fused and lifted features are the backbone's output; penultimate ones the pyramid's.

    Args:
        in_channels: Channels of the backbone's output (2048).
        channels: Width of the pyramid (256).
        num_classes: K.
        in_index: Backbone output used.
        dilations: Of the 3x3 branches.
        groups: Of the GroupNorms.
        dropout_ratio: Channel dropout in front of the classifier, which has no bias.
        align_corners: Of every bilinear resize.
        kwargs: ``BaseDecodeHead``'s ``loss_decode``, ``ignore_index``, ...
    """

    def __init__(
        self,
        in_channels: int = 2048,
        channels: int = 256,
        *,
        num_classes: int,
        in_index: int = 3,
        dilations: Sequence[int] = (6, 12, 18, 24),
        groups: int = 32,
        dropout_ratio: float = 0.1,
        align_corners: bool = True,
        init_cfg: dict | list | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_classes=num_classes,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )
        self.fused_channels = self.in_channels
        self.pyramid_options = dict(dilations=tuple(dilations), groups=groups)
        self.pyramid = DilatedPyramid(self.in_channels, channels, **self.pyramid_options)
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)

    def init_weights(self) -> None:
        """N(0, 0.01^2) for all convolutions, as the released code ends up with."""
        super().init_weights()
        init_convolutions(self.conv_seg)
        self.pyramid.init_values()

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's output."""
        return self._transform_inputs(inputs)

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """(N, C_in, h, w) -> (N, channels, h, w). There is one branch."""
        return self.pyramid(lifted)

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Features and logits, (N, K, h, w)."""
        features = self.features(lifted)
        return HeadOutput(features, self.cls_seg(features))

    # without reads of device counts
    loss_by_feat = DeepLabV3PlusHead.loss_by_feat

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone outputs -> (N, K, h, w) logits."""
        return self.cls_seg(self.features(self.embed(inputs)))
