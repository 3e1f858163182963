"""Cross entropy over pixels with a named divisor, and OHEM; pure functions with registered modules over them."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

DIVISORS = ('confident', 'valid', 'inverse')


def masked_cross_entropy(logits: Tensor, labels: Tensor, count: Tensor | None = None) -> Tensor:
    """Sum of the cross entropy over labelled pixels, divided by a count of at least one.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or IGNORE.
        count: 0-dim, the divisor; default the number of pixels that are not IGNORE.

    Returns:
        0-dim float32; an exact 0 with a graph where every pixel is IGNORE.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction='sum')
    if count is None:
        count = (labels != IGNORE).sum()
    return total / count.clamp(min=1)


def self_training_loss(logits: Tensor, labels: Tensor, valid: Tensor, divisor: str) -> Tensor:
    """Cross entropy against pseudo-labels.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 pseudo-labels; IGNORE below the threshold and in padding.
        valid: (N, H, W) bool, False in padding.
        divisor: 'confident' divides by the pixels that carry a pseudo-label (the mean of the released DDFP code);
            'valid' by all unpadded pixels, so that the loss grows with the teacher's confidence (FixMatch,
            arXiv 2001.07685, Eq. 4); 'inverse' is the mean over the pixels that carry a pseudo-label divided by their
            share of all pixels, so that the loss falls when there are more of them (the released U2PL and DGCL code).
    """
    if divisor == 'inverse':
        share = (labels != IGNORE).sum().clamp(min=1) / labels.numel()
        return masked_cross_entropy(logits, labels) / share
    return masked_cross_entropy(logits, labels, valid.sum() if divisor == 'valid' else None)


def check_divisor(divisor: str, key: str) -> str:
    """Raise SetupError unless ``divisor`` is one of DIVISORS."""
    if divisor not in DIVISORS:
        raise SetupError(f"{key}.divisor='{divisor}': expected one of {DIVISORS}")
    return divisor


def ohem_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    threshold: float = 0.7,
    min_kept: int = 100_000,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Cross entropy over hard pixels: those whose true class has a probability <= max(threshold, min_kept-th smallest).

    With fewer than ``min_kept`` valid pixels this is the plain mean (OHEM as in U2PL, DDFP and DGCL; Shrivastava et al.,
    arXiv 1604.03540). The statistics are those of this batch on this rank.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or ``ignore_index``.
        threshold: Probability in (0, 1].
        min_kept: Pixels kept at least.

    Returns:
        0-dim float32; an exact 0 with a graph where every pixel is ignored.
    """
    logits = logits.float()
    valid = labels != ignore_index
    loss = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction='none')
    with torch.no_grad():
        # -log p is what cross entropy returned; ignored pixels count as certain, as in the released code
        probability = torch.exp(-loss).masked_fill(~valid, 1.0)
        smallest = probability.flatten().kthvalue(min(min_kept, probability.numel())).values
        hard = valid & (probability <= smallest.clamp(min=threshold))
        kept = torch.where(valid.sum() < min_kept, valid, hard)
    return (loss * kept).sum() / kept.sum().clamp(min=1)


@MODELS.register_module()
class OHEMCrossEntropyLoss(nn.Module):
    """:func:`ohem_cross_entropy` as a ``loss_decode`` of any MMSegmentation head.

    Args:
        threshold: Probability in (0, 1]; see the function.
        min_kept: Pixels of the batch kept at least.
        loss_weight: Factor of the loss.
        loss_name: Name in the log; must start with ``loss_``.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int = 100_000,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ohem',
    ) -> None:
        super().__init__()
        if not 0 < threshold <= 1 or min_kept < 1:
            raise SetupError(
                f'OHEMCrossEntropyLoss: threshold={threshold}, min_kept={min_kept}; expected a threshold in (0, 1] and '
                'min_kept >= 1'
            )
        self.threshold, self.min_kept, self.loss_weight, self.loss_name = (
            threshold,
            min_kept,
            loss_weight,
            loss_name,
        )

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = IGNORE,
    ) -> Tensor:
        """mmseg's call of a ``loss_decode``; ``weight`` (a pixel sampler's) is refused, for OHEM is the sampler."""
        if weight is not None:
            raise SetupError(
                'OHEMCrossEntropyLoss selects pixels itself: remove `sampler` from the decode head'
            )
        return self.loss_weight * ohem_cross_entropy(
            logits, labels, self.threshold, self.min_kept, ignore_index
        )
