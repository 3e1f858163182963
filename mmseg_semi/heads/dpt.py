"""MMSegmentation's DPT decoder for backbones that give maps without class tokens, such as mmpretrain's ViTs."""

from collections.abc import Sequence

from mmseg.models.decode_heads import DPTHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class DPTMapHead(DPTHead):
    """DPT (R. Ranftl, A. Bochkovskiy, V. Koltun, ICCV 2021, arXiv 2103.13413) on four maps of one grid.

    MMSegmentation's ``DPTHead`` takes pairs of a map and a class token from its own ViT. This one takes maps and reads no
    token, as with ``readout_type='ignore'``; all else, and its state dict, is that of ``DPTHead``.

    Args:
        kwargs: See ``DPTHead``: ``in_channels`` and ``embed_dims`` are the widths of the ViT, ``post_process_channels`` those of the four
            maps at strides of a quarter, a half, one and two patches, ``channels`` the width of the decoder.

    Example:
        >>> import torch
        >>> head = DPTMapHead(embed_dims=8, post_process_channels=[4] * 4, in_channels=[8] * 4,
        ...     in_index=[0, 1, 2, 3], channels=6, num_classes=3, norm_cfg=None)
        >>> head([torch.randn(2, 8, 5, 5) for _ in range(4)]).shape
        torch.Size([2, 3, 48, 48])
    """

    def __init__(self, **kwargs) -> None:
        # a config that sets one of these gets Python's error for a second value
        super().__init__(readout_type='ignore', input_transform='multiple_select', **kwargs)

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> list[tuple[Tensor, None]]:
        return [(level, None) for level in super()._transform_inputs(inputs)]
