"""ResNet of the DeepLabV2 code bases: its max-pooling rounds up, as in caffe.

The backbone of the authors' code of ClassMix (https://arxiv.org/abs/2007.07936) and MLLC
(https://arxiv.org/abs/2404.02065).
"""

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS


@MODELS.register_module()
class CeilResNet(ResNet):
    """MMSegmentation's ResNet with max-pooling that rounds sizes up, as in DeepLab's networks.

    An image of 256 x 512 pixels then gives a map of 33 x 65 at stride 8 instead of 32 x 64. Sides
    of 8 n + 1 pixels, such as 321, give the same size with either rounding. ``style='caffe'`` puts
    the stride of a bottleneck on its first convolution. Checkpoints of ``ResNet`` fit.

    Args:
        stem_ceil_mode: Whether the stem's max-pooling rounds up.
        args: Positional arguments of ``mmseg.models.backbones.ResNet``.
        kwargs: Keyword arguments of ``mmseg.models.backbones.ResNet``.

    Example:
        >>> import torch
        >>> backbone = CeilResNet(18, base_channels=8, stem_channels=8)
        >>> [tuple(x.shape[2:]) for x in backbone(torch.randn(1, 3, 64, 128))]
        [(17, 33), (9, 17), (5, 9), (3, 5)]
    """

    def __init__(self, *args, stem_ceil_mode: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.maxpool.ceil_mode = stem_ceil_mode
