"""Pseudo-labels by a threshold on the teacher's certainty: pure functions, and the registered modules over them."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.schedules import Schedule, build_schedule
from mmseg_semi.step.views import PseudoLabels


def label_and_confidence(logits: Tensor, valid: Tensor) -> PseudoLabels:
    """Argmax labels with their probability; padding is IGNORE with confidence 0.

    Args:
        logits: (N, K, H, W) class scores at image resolution.
        valid: (N, H, W) bool, False where the pixel is padding.
    """
    confidence, labels = logits.float().softmax(dim=1).max(dim=1)
    return PseudoLabels(labels.masked_fill(~valid, IGNORE), confidence * valid)


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy in nats of softmax(logits) over dim 1.

    Args:
        logits: (N, K, H, W).

    Returns:
        (N, H, W) float32 in [0, ln K].
    """
    # every term is <= 0; logsumexp(l) - sum_c p_c l_c would be the small difference of large numbers
    log_p = logits.float().log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def masked_quantile(values: Tensor, mask: Tensor, level: float) -> Tensor:
    """Quantile with linear interpolation over the True entries of a mask, without reading a count back to the host.

    Args:
        values: any shape, finite.
        mask: bool, the same shape.
        level: in [0, 1].

    Returns:
        A 0-dim tensor; +inf if the mask is empty (nothing then lies at or above it).
    """
    ordered = values.masked_fill(~mask, float('inf')).flatten().sort().values
    count = mask.sum()
    position = level * (count - 1).clamp(min=0).to(ordered.dtype)
    low, high = position.floor().long(), position.ceil().long()
    # gather by tensor indices: ordered[low] with a device index does not synchronise
    lower, upper = ordered.gather(0, low[None])[0], ordered.gather(0, high[None])[0]
    # the empty case has inf - inf; where() keeps it out of the result
    return torch.where(count > 0, torch.lerp(lower, upper, position - low), lower)


def most_certain(logits: Tensor, valid: Tensor, drop: float) -> PseudoLabels:
    """Labels of all but the ``drop`` percent of valid pixels with the highest entropy; those and padding are IGNORE.

    A pixel is dropped where its entropy is at or above the quantile 1 - drop/100 of the batch's unpadded pixels (U2PL,
    arXiv 2203.03884, Eq. 2).

    Args:
        logits: (N, K, H, W) class scores.
        valid: (N, H, W) bool, False where the pixel is padding.
        drop: In [0, 100].
    """
    pseudo = label_and_confidence(logits, valid)
    if drop == 0:
        return pseudo
    uncertainty = entropy(logits)
    kept = uncertainty < masked_quantile(uncertainty, valid, 1 - drop / 100)
    return PseudoLabels(pseudo.labels.masked_fill(~kept, IGNORE), pseudo.confidence)


def build_percentage(spec: float | dict, key: str) -> Schedule:
    """A number or a schedule of values in [0, 100]; ``key`` is the config key, named in the error.

    Raises:
        SetupError: A percentage above 100, or no schedule.
    """
    schedule = build_schedule(spec, key)
    if max(getattr(schedule, 'values', None) or [schedule.value]) > 100:
        raise SetupError(f'{key}={spec}: expected percentages in [0, 100]')
    return schedule


@MODELS.register_module()
class ConfidenceThreshold(nn.Module):
    """Keep a pixel where the teacher's probability is **greater** than a fixed threshold (FixMatch, arXiv 2001.07685).

    DDFP's released code keeps ``max prob > 0.95``: a pixel at exactly the threshold is ignored.

    Args:
        threshold: In [0, 1]. With 0 every valid pixel is kept.

    Raises:
        SetupError: The threshold is outside [0, 1].
    """

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise SetupError(
                f'pseudo_label.threshold={threshold}: expected a probability in [0, 1]'
            )
        self.threshold = float(threshold)

    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """See :func:`label_and_confidence`; ``time`` is unused."""
        pseudo = label_and_confidence(logits, valid)
        # not "<=": a teacher that answers NaN is not confident
        kept = pseudo.confidence > self.threshold
        return PseudoLabels(pseudo.labels.masked_fill(~kept, IGNORE), pseudo.confidence)


@MODELS.register_module()
class EntropyPercentile(nn.Module):
    """Drop the most uncertain ``drop`` percent of the batch's valid pixels by entropy, see :func:`most_certain`.

    Args:
        drop: Percentage in [0, 100], a number or a schedule (``mmseg_semi.step.schedules``).

    Raises:
        SetupError: A percentage above 100, or no schedule.
    """

    def __init__(self, drop: float | dict = 20.0) -> None:
        super().__init__()
        self.drop = build_percentage(drop, 'pseudo_label.drop')

    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        return most_certain(logits, valid, self.drop(time))
