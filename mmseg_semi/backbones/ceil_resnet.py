"""The caffe-style ResNet of DeepLabV2's code bases, in MMSegmentation's terms."""

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS


@MODELS.register_module()
class CeilResNet(ResNet):
    """MMSegmentation's ResNet with a max-pooling that rounds up, as in DeepLab's caffe networks.

    An image of 256 x 512 pixels then gives 33 x 65 positions at stride 8 instead of 32 x 64; sides of 8 n + 1 pixels, such as
    321, give the same with either. With ``style='caffe'`` the stride sits on the first convolution of a bottleneck.
    Checkpoints are those of ``ResNet``.

    Args:
        stem_ceil_mode: Round up.
        kwargs: See ``mmseg.models.backbones.ResNet``.
    """

    def __init__(self, *args, stem_ceil_mode: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.maxpool.ceil_mode = stem_ceil_mode
