"""Cross entropy over pixels with a choice of divisor, and OHEM; pure functions with a registered module over them."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.class_scores import cross_entropy
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

DIVISORS = ('confident', 'valid', 'inverse')


def masked_cross_entropy(logits: Tensor, labels: Tensor, count: Tensor | None = None) -> Tensor:
    """Cross entropy summed over labelled pixels, divided by a count of at least one.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or IGNORE.
        count: 0-dim, the divisor; default the number of pixels that are not IGNORE.

    Returns:
        0-dim float32; an exact 0 with a graph if every pixel is IGNORE.

    Example:
        >>> logits, labels = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 255]]])
        >>> round(masked_cross_entropy(logits, labels).item(), 4)  # ln 2
        0.6931
    """
    total = cross_entropy(logits.float(), labels, IGNORE, 'sum')
    if count is None:
        count = (labels != IGNORE).sum()
    return total / count.clamp(min=1)


def self_training_loss(
    logits: Tensor, labels: Tensor, valid: Tensor, divisor: str, weight: Tensor | None = None
) -> Tensor:
    """Cross entropy against pseudo-labels, the sum over pixels of weight times cross entropy over a divisor.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 pseudo-labels; IGNORE below the threshold and in padding.
        valid: (N, H, W) bool, False in padding.
        divisor: 'confident' divides by the pixels that carry a pseudo-label (the mean of the released DDFP code);
            'valid' by all unpadded pixels, so that the loss grows with the teacher's confidence (FixMatch,
            arXiv 2001.07685, Eq. 4); 'inverse' is the mean over the pixels that carry a pseudo-label divided by their
            share of all pixels, so that the loss falls when there are more of them (the released U2PL and DGCL code).
        weight: (N, H, W) in [0, 1], or None for 1 everywhere. 'valid' then still divides by the number of unpadded pixels, so
            that low weights give a low loss; in 'confident' and 'inverse' the sum of the weights takes the place of the
            number of pixels that carry a pseudo-label.

    Returns:
        0-dim float32.

    Example:
        >>> logits, labels = torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 1, 255, 255]]])
        >>> valid = torch.ones(1, 1, 4, dtype=torch.bool)
        >>> [round(self_training_loss(logits, labels, valid, d).item(), 3) for d in DIVISORS]
        [0.693, 0.347, 1.386]
    """
    if weight is not None:
        return _weighted_loss(logits, labels, valid, divisor, weight)
    if divisor == 'inverse':
        share = (labels != IGNORE).sum().clamp(min=1) / labels.numel()
        return masked_cross_entropy(logits, labels) / share
    return masked_cross_entropy(logits, labels, valid.sum() if divisor == 'valid' else None)


def _weighted_loss(
    logits: Tensor, labels: Tensor, valid: Tensor, divisor: str, weight: Tensor
) -> Tensor:
    labelled = labels != IGNORE
    loss = cross_entropy(logits.float(), labels, IGNORE, 'none')
    total = (weight * loss).sum()
    if divisor == 'valid':
        return total / valid.sum().clamp(min=1)
    # at least one pixel's, as without weights: a mean over weights that are all tiny would undo them
    count = (weight * labelled).sum().clamp(min=1)
    return total / count if divisor == 'confident' else total / count / (count / labels.numel())


def check_divisor(divisor: str, key: str) -> str:
    """Returns ``divisor``; raises SetupError unless it is one of DIVISORS.

    Example:
        >>> check_divisor('valid', 'selftrain')
        'valid'
    """
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
    """Cross entropy over the hard pixels, whose true class has a probability <= max(threshold, min_kept-th smallest).

    With fewer than ``min_kept`` valid pixels this is the plain mean (OHEM as in U2PL, DDFP and DGCL; Shrivastava et al.,
    arXiv 1604.03540). The statistics are those of this batch on this rank.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64 in [0, K) or ``ignore_index``.
        threshold: Probability in (0, 1].
        min_kept: Smallest number of pixels that are kept.
        ignore_index: The ignored label.

    Returns:
        0-dim float32; an exact 0 with a graph if every pixel is ignored.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # an easy and a hard pixel
        >>> labels = torch.zeros(1, 1, 2, dtype=torch.long)
        >>> round(ohem_cross_entropy(logits, labels, threshold=0.7, min_kept=1).item(), 4)
        0.6931
    """
    logits = logits.float()
    valid = labels != ignore_index
    loss = cross_entropy(logits, labels, ignore_index, 'none')
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
        min_kept: Smallest number of pixels of the batch that are kept.
        loss_weight: Factor of the loss.
        loss_name: Name in the log; must start with ``loss_``.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> loss = OHEMCrossEntropyLoss(threshold=0.7, min_kept=100)
        >>> loss(torch.randn(2, 3, 16, 16), torch.randint(0, 3, (2, 16, 16))).shape
        torch.Size([])
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
        """The loss of (N, K, H, W) logits and (N, H, W) labels; refuses ``weight``, which a pixel sampler gives, because OHEM
        is a sampler itself."""
        if weight is not None:
            raise SetupError(
                'OHEMCrossEntropyLoss selects pixels itself: remove `sampler` from the decode head'
            )
        return self.loss_weight * ohem_cross_entropy(
            logits, labels, self.threshold, self.min_kept, ignore_index
        )
