"""Annealed-bootstrapped cross entropy, CCT's optional loss for few labels.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005; behaviour checked against
https://github.com/yassouali/CCT (65d4e5b). Pixels whose true class has a probability of eta or more
do not count. eta rises from 1/K to ``end``, which delays overfitting of few labels.
"""

import torch
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.class_scores import cross_entropy
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.schedules import Ramp


def bootstrapped_cross_entropy(
    logits: Tensor, labels: Tensor, threshold: float, min_kept: int, ignore_index: int = IGNORE
) -> Tensor:
    """Average the cross entropy over pixels whose true class has a probability below a threshold.

    The ``min_kept`` least probable pixels count whatever the threshold; if fewer pixels are valid,
    all of them count. Of several equally probable pixels the released code keeps none; here all of
    them count.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or ``ignore_index``.
        threshold: Probability eta; above 1 the result is the plain mean.
        min_kept: Least number of pixels of the batch that count.
        ignore_index: Ignored label.

    Returns:
        0-dim float32; an exact 0 with a graph if every pixel is ignored.

    Example:
        >>> logits, labels = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
        >>> loss = bootstrapped_cross_entropy(logits, labels, threshold=0.5, min_kept=2)
        >>> (loss > nn.functional.cross_entropy(logits, labels)).item()  # easy pixels do not count
        True
    """
    logits = logits.float()
    valid = labels != ignore_index
    loss = cross_entropy(logits, labels, ignore_index, 'none')
    with torch.no_grad():
        probability = torch.exp(-loss).masked_fill(~valid, 2.0)
        least = probability.flatten().kthvalue(min(min_kept, probability.numel())).values
        kept = valid & ((probability < threshold) | (probability <= least))
    return (loss * kept).sum() / kept.sum().clamp(min=1)


@MODELS.register_module()
class AnnealedBootstrappedCELoss(nn.Module):
    """Use :func:`bootstrapped_cross_entropy` as the ``loss_decode`` of any MMSegmentation head.

    The threshold is eta(t) = 1/K + (end - 1/K) r(t / length). Here t is the runner's iteration and
    r a ramp of ``mmseg_semi/step/schedules.py``. CCT takes the 'log' ramp over the first 40 % of
    the run; this ramp stops at 1 - exp(-5) of the way.

    Args:
        length: Number of iterations over which eta rises.
        kind: Ramp: 'sigmoid', 'linear', 'cosine', 'log' or 'exp'. With 'none', eta is ``end`` from
            the start, which is OHEM with a fixed threshold.
        end: Last value of eta, in (0, 1] (0.9).
        min_kept: Least number of pixels that count, per image of the batch (1).
        loss_weight: Factor of the loss (1).
        loss_name: Name in the log; must start with ``loss_``.

    Raises:
        SetupError: If a value is out of range or the ramp is unknown.

    Example:
        >>> loss = AnnealedBootstrappedCELoss(length=1000)
        >>> [round(loss.threshold(t, num_classes=4), 3) for t in (0, 100, 1000)]
        [0.25, 0.506, 0.896]
        >>> loss(torch.randn(2, 4, 8, 8), torch.randint(4, (2, 8, 8))).shape
        torch.Size([])
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
                f'AnnealedBootstrappedCELoss: end={end}, min_kept={min_kept}; expected end in '
                '(0, 1] and min_kept >= 1'
            )
        self.ramp = (lambda t: 1.0) if kind == 'none' else Ramp(1.0, length, kind)
        self.end, self.min_kept = end, min_kept
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def threshold(self, iteration: int, num_classes: int) -> float:
        """Return eta at an iteration."""
        return 1 / num_classes + (self.end - 1 / num_classes) * self.ramp(iteration)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = IGNORE,
    ) -> Tensor:
        """Compute the loss at the runner's iteration, with the signature of a ``loss_decode``.

        Args:
            logits: (N, K, H, W).
            labels: (N, H, W) int64 in [0, K) or ``ignore_index``.
            weight: Must be None: it comes from a pixel sampler, and this loss samples itself.
            ignore_index: Ignored label.

        Raises:
            SetupError: If the head has a pixel sampler.
        """
        if weight is not None:
            raise SetupError(
                'AnnealedBootstrappedCELoss selects pixels itself: remove `sampler` from the '
                'decode head'
            )
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        threshold = self.threshold(iteration, logits.shape[1])
        kept = self.min_kept * len(labels)
        return self.loss_weight * bootstrapped_cross_entropy(
            logits, labels, threshold, kept, ignore_index
        )
