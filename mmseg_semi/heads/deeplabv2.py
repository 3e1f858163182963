"""DeepLabV2's head with GroupNorm and squeeze-and-excitation, split in two stages.

The head of the authors' code of ClassMix (V. Olsson et al., https://arxiv.org/abs/2007.07936) and
MLLC (H. Xiao et al., https://arxiv.org/abs/2404.02065). It differs from MMSegmentation's
``ASPPHead`` in: the five branches are concatenated and gated, where ``ASPPHead`` also pools the
image; GroupNorm; the 3x3 fusion has no activation; the classifier has no bias; all convolution
weights start from N(0, 0.01^2).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead
from mmseg_semi.heads.two_stage import HeadOutput, NoFirstLayer

STD = 0.01
"""Standard deviation of all initial convolution weights."""


def init_convolutions(module: nn.Module, zero_bias: Sequence[nn.Module] = ()) -> None:
    """Draw every convolution's weights from N(0, 0.01^2); other weights keep torch's default.

    Args:
        module: Module whose convolutions are initialised, in place.
        zero_bias: Layers whose biases are set to 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=STD)
    for layer in zero_bias:
        nn.init.zeros_(layer.bias)


class DilatedPyramid(nn.Module):
    """Apply five parallel convolutions, squeeze-and-excitation and a 3x3 fusion.

    Args:
        in_channels: Channels of the backbone's output (2048).
        channels: Channels of each branch and of the result (256).
        dilations: Dilations of the 3x3 branches (6, 12, 18, 24); the first branch is a 1x1
            convolution.
        groups: Number of groups of each GroupNorm (32).
        reduction: Reduction of the squeeze-and-excitation's hidden layer (16).

    Example:
        >>> pyramid = DilatedPyramid(in_channels=32, channels=16, groups=4)
        >>> pyramid(torch.randn(2, 32, 8, 8)).shape
        torch.Size([2, 16, 8, 8])
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
        """Initialise as the authors do; MMEngine would call a method named ``init_weights``."""
        init_convolutions(self, zero_bias=[self.fusion])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, h, w) to (N, channels, h, w)."""
        x = torch.cat([branch(x) for branch in self.branches], dim=1)
        gate = self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))).sigmoid()
        return self.norm(self.fusion(x * gate[:, :, None, None]))


@MODELS.register_module()
class DeepLabV2Head(NoFirstLayer, BaseDecodeHead):
    """Classify at the resolution of one backbone output, by DeepLabV2's dilated pyramid.

    In two stages (``heads/two_stage.py``), fused and lifted features are the backbone's output, and
    the penultimate features are the pyramid's output.

    Args:
        in_channels: Channels of the backbone's output (2048).
        channels: Channels of the pyramid (256).
        num_classes: Number of classes K.
        in_index: Index of the backbone output (3, the last).
        dilations: Dilations of the 3x3 branches (6, 12, 18, 24).
        groups: Number of groups of each GroupNorm (32).
        dropout_ratio: Channel dropout before the classifier (0.1).
        align_corners: ``align_corners`` of every bilinear resize.
        kwargs: Arguments of ``BaseDecodeHead``: ``loss_decode``, ``ignore_index``, ...

    Example:
        >>> head = DeepLabV2Head(in_channels=32, channels=16, num_classes=3, in_index=0, groups=4)
        >>> head([torch.randn(2, 32, 8, 8)]).shape
        torch.Size([2, 3, 8, 8])
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
        """Draw all convolution weights from N(0, 0.01^2), the final state in the released code."""
        super().init_weights()
        init_convolutions(self.conv_seg)
        self.pyramid.init_values()

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the backbone's output, (N, C_in, h, w)."""
        return self._transform_inputs(inputs)

    def features(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> Tensor:
        """Map u to penultimate features, (N, channels, h, w). There is one branch."""
        return self.pyramid(lifted)

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Map u to features and logits, (N, K, h, w)."""
        features = self.features(lifted)
        return HeadOutput(features, self.cls_seg(features))

    # see decode_losses: it does not wait for the device
    loss_by_feat = DeepLabV3PlusHead.loss_by_feat

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map backbone outputs to logits, (N, K, h, w)."""
        return self.cls_seg(self.features(self.embed(inputs)))
