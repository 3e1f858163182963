"""Annealed-bootstrapped cross entropy of CCT (arXiv 2003.09005; github.com/yassouali/CCT).

Pixels that the network already gets right with a probability of eta or more are left out at first, which delays
overfitting of few labels; eta rises from 1/K to ``end``.
"""

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.schedules import Ramp


def bootstrapped_cross_entropy(
    logits: Tensor, labels: Tensor, threshold: float, min_kept: int, ignore_index: int = IGNORE
) -> Tensor:
    """Mean cross entropy over the pixels whose true class has a probability below ``threshold``.

    The ``min_kept`` least probable pixels are kept whatever the threshold (all, where fewer are valid); of pixels that are
    equally probable the released code keeps none, this keeps all.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or ``ignore_index``.
        threshold: eta; above 1 this is the plain mean.
        min_kept: Pixels of the batch kept at least.

    Returns:
        0-dim float32; an exact 0 with a graph where every pixel is ignored.
    """
    logits = logits.float()
    valid = labels != ignore_index
    loss = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction='none')
    with torch.no_grad():
        probability = torch.exp(-loss).masked_fill(~valid, 2.0)
        least = probability.flatten().kthvalue(min(min_kept, probability.numel())).values
        kept = valid & ((probability < threshold) | (probability <= least))
    return (loss * kept).sum() / kept.sum().clamp(min=1)


@MODELS.register_module()
class AnnealedBootstrappedCELoss(nn.Module):
    """:func:`bootstrapped_cross_entropy` as a ``loss_decode`` of any MMSegmentation head.

    eta(t) = 1/K + (end - 1/K) r(t / length), t the runner's iteration and r a ramp of ``mmseg_semi.step.schedules``. CCT: the
    'log' ramp, which stops at 1 - exp(-5) of the way, over the first 40 % of the run.

    Args:
        length: Iterations over which eta rises.
        kind: Of the ramp: 'sigmoid', 'linear', 'cosine', 'log', 'exp'; or 'none': eta is ``end`` from the start, a mining
            of hard pixels with a fixed threshold.
        end: Probability in (0, 1].
        min_kept: Pixels kept at least, for each image of the batch.
        loss_weight: Factor of the loss.
        loss_name: Name in the log; must start with ``loss_``.

    Raises:
        SetupError: A value out of range; an unknown ramp.
    """

    def __init__(
        self,
        length: float,
        kind: str = 'log',
        end: float = 0.9,
        min_kept: int = 1,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_abce',
    ) -> None:
        super().__init__()
        if not 0 < end <= 1 or min_kept < 1:
            raise SetupError(
                f'AnnealedBootstrappedCELoss: end={end}, min_kept={min_kept}; expected a probability in (0, 1] and '
                'min_kept >= 1'
            )
        self.ramp = (lambda t: 1.0) if kind == 'none' else Ramp(1.0, length, kind)
        self.end, self.min_kept = end, min_kept
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def threshold(self, iteration: int, num_classes: int) -> float:
        """eta at an iteration."""
        return 1 / num_classes + (self.end - 1 / num_classes) * self.ramp(iteration)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = IGNORE,
    ) -> Tensor:
        """mmseg's call of a ``loss_decode``; ``weight`` (a pixel sampler's) is refused, for this loss samples itself."""
        if weight is not None:
            raise SetupError(
                'AnnealedBootstrappedCELoss selects pixels itself: remove `sampler` from the decode head'
            )
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        threshold = self.threshold(iteration, logits.shape[1])
        kept = self.min_kept * len(labels)
        return self.loss_weight * bootstrapped_cross_entropy(
            logits, labels, threshold, kept, ignore_index
        )
