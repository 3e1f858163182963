"""DDFP's head: DeepLabV3+ whose two decoder norms have auxiliary copies.

The head of DDFP (X. Wang et al., CVPR 2024, https://arxiv.org/abs/2403.06462; behaviour checked
against https://github.com/Gavinwxy/DDFP, 7956c72). Separate norms for perturbed inputs come from
AdvProp (C. Xie et al., https://arxiv.org/abs/1911.09665).

Departs from the authors' code in: the call says which images take which norms, where the code
flips a mode on the modules; auxiliary batch norms keep no running statistics, which nothing reads.
"""

import torch
from mmcv.cnn import build_norm_layer
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead


@MODELS.register_module()
class DDFPHead(DeepLabV3PlusHead):
    """:class:`DeepLabV3PlusHead` with auxiliary norms for density-descended features.

    ``branches=(a, b)`` sends the first a images of a batch through the deployed norms and the last
    b images through the auxiliary norms. Auxiliary batch norms never track running statistics,
    because evaluation uses the deployed norms only.

    Args:
        split_norms: Whether to build the auxiliary norms. ``DDFPObjective`` needs them. They are
            off by default, because a plain ``EncoderDecoder`` has no loss that reaches them.
        kwargs: Arguments of :class:`DeepLabV3PlusHead`.

    Raises:
        SetupError: If a call routes images to auxiliary norms that were not built.

    Example:
        >>> head = DDFPHead((8, 32), 16, num_classes=3, in_index=(0, 1), split_norms=True)
        >>> fused = head.embed([torch.randn(4, 8, 16, 16), torch.randn(4, 32, 4, 4)])
        >>> features, logits, _ = head.classify(fused, branches=(2, 2))
        >>> features.shape, logits.shape
        (torch.Size([4, 16, 16, 16]), torch.Size([4, 3, 16, 16]))
    """

    def __init__(self, *args, split_norms: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.split_norms = split_norms
        if split_norms:
            self.aux_norm1, self.aux_norm2 = self._build_auxiliary(), self._build_auxiliary()

    def _build_auxiliary(self) -> nn.Module:
        """Build a norm like the deployed ones, without running statistics."""
        norm = build_norm_layer(self.norm_cfg or dict(type='BN'), self.channels)[1]
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        return norm

    def _norm(self, index: int, x: Tensor, branches: tuple[int, int] | None) -> Tensor:
        """Apply norm 1 or 2 of the decoder, each part of the batch in its branch."""
        clean = getattr(self, f'norm{index}')
        if branches is None or branches[1] == 0:
            return clean(x)
        if not self.split_norms:
            raise SetupError('DDFPHead has no auxiliary norms: set decode_head.split_norms=True')
        auxiliary = getattr(self, f'aux_norm{index}')
        if branches[0] == 0:
            return auxiliary(x)
        first, last = x.split(branches)
        return torch.cat([clean(first), auxiliary(last)])
