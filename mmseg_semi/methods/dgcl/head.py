"""DGCL's head: DeepLabV3+ with a projection of its penultimate features.

The head of DGCL (X. Wang et al., CVPR 2023, doi 10.1109/CVPR52729.2023.00304; behaviour checked
against https://github.com/Gavinwxy/DGCL, 1f3ea3f).
"""

import torch
from mmcv.cnn import build_norm_layer
from mmseg.registry import MODELS
from torch import nn

from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead


class Projection(nn.Sequential):
    """Project pixel features to the space of a contrast: linear, norm, ReLU, linear at every pixel.

    The 1x1 convolutions are the authors' linear layers over pixels, without permuting the map. The
    norm's batch is all pixels of all images. Weights have torch's default initialisation and leave
    the global generator unchanged, so the student's other weights do not depend on the projection.

    Args:
        in_channels: Channels C of the features (256).
        channels: Channels D of the projection and of the hidden layer (256).
        norm_cfg: Config of the norm; None means BN.

    Shape:
        (N, C, h, w) -> (N, D, h, w).

    Example:
        >>> projection = Projection(in_channels=16, channels=8)
        >>> projection(torch.randn(2, 16, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(
                nn.Conv2d(in_channels, channels, 1),
                build_norm_layer(norm_cfg or dict(type='BN'), channels)[1],
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 1),
            )
        self.out_channels = channels


@MODELS.register_module()
class DGCLHead(DeepLabV3PlusHead):
    """:class:`DeepLabV3PlusHead` with a projection for ``DGCLObjective``.

    The projection is not part of ``forward``, so the deployed network is plain DeepLabV3+.

    Args:
        projection: Whether to build the projection. It is off by default, because a plain
            ``EncoderDecoder`` has no loss that reaches it.
        projection_channels: Channels D of the projection (256).
        kwargs: Arguments of :class:`DeepLabV3PlusHead`.

    Example:
        >>> head = DGCLHead((8, 32), 16, num_classes=3, in_index=(0, 1), projection=True)
        >>> fused = head.embed([torch.randn(2, 8, 16, 16), torch.randn(2, 32, 4, 4)])
        >>> features, logits, _ = head.classify(fused)
        >>> logits.shape, head.projection(features).shape
        (torch.Size([2, 3, 16, 16]), torch.Size([2, 256, 16, 16]))
    """

    def __init__(
        self, *args, projection: bool = False, projection_channels: int = 256, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.projection = (
            Projection(self.channels, projection_channels, self.norm_cfg) if projection else None
        )
