"""DGCL's head: DeepLabV3+ with a projection of its penultimate features (CVPR 2023; github.com/Gavinwxy/DGCL)."""

import torch
from mmcv.cnn import build_norm_layer
from mmseg.registry import MODELS
from torch import nn

from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead


class Projection(nn.Sequential):
    """Pixel features to the space of a contrast: linear, norm, ReLU, linear, at every pixel.

    1x1 convolutions are the authors' linear layers over pixels, without permuting the map; the norm's batch is all pixels of
    all images. Initialised by torch's default, from a stream of its own: the student's other weights do not depend on
    whether there is a projection.

    Args:
        in_channels: Channels of the features.
        channels: Channels D of the projection, and of the layer in front of it.
        norm_cfg: Of the norm; None is BN.
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

    The projection is no part of ``forward``: what is deployed is DeepLabV3+.

    Args:
        projection: Build it. Off by default, so that the head alone in a plain ``EncoderDecoder`` has no parameter that its
            loss does not reach.
        projection_channels: Its width D (256).
        kwargs: See :class:`DeepLabV3PlusHead`.
    """

    def __init__(
        self, *args, projection: bool = False, projection_channels: int = 256, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.projection = (
            Projection(self.channels, projection_channels, self.norm_cfg) if projection else None
        )
