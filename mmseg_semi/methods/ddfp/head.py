"""DDFP's head: DeepLabV3+ whose two decoder norms exist twice (CVPR 2024, arXiv 2403.06462; AdvProp, arXiv 1911.09665)."""

import torch
from mmcv.cnn import build_norm_layer
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead


@MODELS.register_module()
class DDFPHead(DeepLabV3PlusHead):
    """:class:`DeepLabV3PlusHead` with auxiliary norms for density-descended features.

    ``branches=(a, b)`` sends the first a rows through the norms that are deployed and the last b rows through the
    auxiliary ones. The split is passed with the call; no module keeps a mode. Auxiliary batch norms never track running
    statistics: nothing reads them, for evaluation is clean.

    Args:
        split_norms: Build the auxiliary norms. Off by default, so that the head alone in a plain ``EncoderDecoder`` has
            no parameter that its loss does not reach; ``DDFPObjective`` asks for it.
        kwargs: See :class:`DeepLabV3PlusHead`.
    """

    def __init__(self, *args, split_norms: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.split_norms = split_norms
        if split_norms:
            self.aux_norm1, self.aux_norm2 = self._build_auxiliary(), self._build_auxiliary()

    def _build_auxiliary(self) -> nn.Module:
        norm = build_norm_layer(self.norm_cfg or dict(type='BN'), self.channels)[1]
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        return norm

    def _norm(self, index: int, x: Tensor, branches: tuple[int, int] | None) -> Tensor:
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
