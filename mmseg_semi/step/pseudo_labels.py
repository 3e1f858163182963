"""Pseudo-labels from the teacher's logits: pure functions, the base class, and two thresholds.

A pseudo-labeller with more to do than a threshold, such as label correction, is a subclass of :class:`PseudoLabeller` in the
folder of its method.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.class_scores import log_softmax, softmax
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.pixels import nearest
from mmseg_semi.step.schedules import Schedule, build_schedule
from mmseg_semi.step.views import PseudoLabels, StepViews, TeacherOutputs


def label_and_confidence(logits: Tensor, valid: Tensor) -> PseudoLabels:
    """The most probable class of each pixel with its probability; padding is IGNORE with confidence 0.

    Args:
        logits: (N, K, H, W) class scores at image resolution.
        valid: (N, H, W) bool, False where the pixel is padding.

    Example:
        >>> logits = torch.tensor([0.0, 30.0]).view(1, 2, 1, 1)
        >>> pseudo = label_and_confidence(logits, torch.ones(1, 1, 1, dtype=torch.bool))
        >>> pseudo.labels.item(), pseudo.confidence.item()
        (1, 1.0)
    """
    confidence, labels = softmax(logits.float()).max(dim=1)
    return PseudoLabels(labels.masked_fill(~valid, IGNORE), confidence * valid)


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of softmax(logits) over dim 1, in nats.

    Args:
        logits: (N, K, H, W).

    Returns:
        (N, H, W) float32 in [0, ln K].

    Example:
        >>> entropy(torch.zeros(1, 2, 1, 1)).item()  # ln 2
        0.6931471824645996
    """
    # every term is <= 0; logsumexp(l) - sum_c p_c l_c would be the small difference of large numbers
    log_p = log_softmax(logits.float())
    return -(log_p.exp() * log_p).sum(dim=1)


def image_certainty(logits: Tensor, valid: Tensor) -> Tensor:
    """Mean over an image's valid pixels of the highest probability times 1 minus the normalised entropy (AugSeg).

    Args:
        logits: (N, K, h, w), at the head's resolution.
        valid: (N, H, W) bool, at that of the images.

    Returns:
        (N,) float32 in [0, 1]; 0 for an image without a valid pixel.

    Example:
        >>> logits = torch.tensor([[0.0, 90.0], [0.0, 0.0]])[:, :, None, None]  # certain; uniform
        >>> image_certainty(logits, torch.ones(2, 1, 1, dtype=torch.bool)).tolist()
        [1.0, 0.0]
    """
    highest = softmax(logits.float()).amax(dim=1)
    confidence = 1 - entropy(logits) / math.log(logits.shape[1])
    inside = nearest(valid, logits.shape[2:])
    return (highest * confidence * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)


def masked_quantile(values: Tensor, mask: Tensor, level: float) -> Tensor:
    """Quantile with linear interpolation over the True entries of a mask, without reading a count back to the host.

    Args:
        values: any shape, finite.
        mask: bool, the same shape.
        level: in [0, 1].

    Returns:
        A 0-dim tensor; +inf if the mask is empty, so that no value lies at or above it.

    Example:
        >>> mask = torch.tensor([True, True, True, False])
        >>> masked_quantile(torch.tensor([1.0, 3.0, 2.0, 9.0]), mask, 0.5)
        tensor(2.)
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
    """Labels all but the ``drop`` percent of valid pixels with the highest entropy; those and padding are IGNORE.

    A pixel is dropped if its entropy is at or above the quantile 1 - drop/100 of the batch's unpadded pixels (U2PL,
    arXiv 2203.03884, Eq. 2).

    Args:
        logits: (N, K, H, W) class scores.
        valid: (N, H, W) bool, False where the pixel is padding.
        drop: In [0, 100].

    Example:
        >>> logits, valid = torch.randn(1, 3, 4, 5), torch.ones(1, 4, 5, dtype=torch.bool)
        >>> (most_certain(logits, valid, drop=20).labels == IGNORE).sum().item()
        4
    """
    pseudo = label_and_confidence(logits, valid)
    if drop == 0:
        return pseudo
    uncertainty = entropy(logits)
    kept = uncertainty < masked_quantile(uncertainty, valid, 1 - drop / 100)
    return PseudoLabels(pseudo.labels.masked_fill(~kept, IGNORE), pseudo.confidence)


def build_percentage(spec: float | dict, key: str) -> Schedule:
    """Builds a schedule of percentages from a number or a dict; ``key`` is the config key, named in the error.

    Raises:
        SetupError: A percentage above 100, or no schedule.

    Example:
        >>> build_percentage(20, 'pseudo_label.drop')(0)
        20.0
    """
    schedule = build_schedule(spec, key)
    if max(getattr(schedule, 'values', None) or [schedule.value]) > 100:
        raise SetupError(f'{key}={spec}: expected percentages in [0, 100]')
    return schedule


class PseudoLabeller(nn.Module):
    """Base class of pseudo-labellers, which turn the teacher's outputs into labels of the unlabelled images.

    A step calls :meth:`correct` and then the module itself, on the upsampled result; after the student's pass
    :meth:`count`; on the log's iterations :meth:`metrics`; after the optimiser's step :meth:`after_step`. A subclass
    implements :meth:`forward`, the rest has defaults.

    Example:
        >>> class EveryPixel(PseudoLabeller):
        ...     def forward(self, logits, valid, time):
        ...         return label_and_confidence(logits, valid)
        >>> EveryPixel()(torch.randn(1, 3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool), time=0).labels.shape
        torch.Size([1, 8, 8])
    """

    needs = Needs()
    """What it asks of a step besides the teacher's logits, e.g. ``Needs(teacher_features=True)``."""

    gives_weights = False
    """Whether its labels have weights (``PseudoLabels.weight``); an objective that would drop them refuses it in ``bind``."""

    def bind(self, networks: Networks, objectives: Iterable[Objective] = ()) -> None:
        """Takes from the built networks what the pseudo-labeller works with; called after the objectives are bound.

        Args:
            networks: Keep the object itself, or modules in a tuple, so that PyTorch does not register them a second time.
            objectives: Those of the recipe.

        Raises:
            SetupError: The head or the recipe cannot serve this pseudo-labeller.
        """

    def correct(
        self, outputs: TeacherOutputs, valid: Tensor
    ) -> tuple[Tensor, Sequence[Any] | None]:
        """Corrects the teacher's logits before they become labels.

        Args:
            outputs: For the weak view of the unlabelled images.
            valid: (N, H, W) bool, False where the pixel is padding.

        Returns:
            logits: (N, K, h, w); by default the teacher's.
            levels: What objectives read as ``views.teacher.levels``; by default None.
        """
        return outputs.logits, None

    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """Labels the unlabelled images.

        Args:
            logits: (N, K, H, W) class scores at image resolution, from :meth:`correct`.
            valid: (N, H, W) bool, False where the pixel is padding.
            time: In ``model.iters_per_epoch``.
        """
        raise NotImplementedError

    def count(self, views: StepViews) -> None:
        """Counts what later thresholds depend on, from the outputs of teacher and student; :meth:`after_step` adds it."""

    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """Metrics for logging, named ``pseudo.<key>`` in the log."""
        return {}

    def after_step(self) -> None:
        """Updates counts after the optimiser's step."""


def check_labeller(module: nn.Module, key: str) -> None:
    """Raises SetupError unless the module is a PseudoLabeller."""
    if not isinstance(module, PseudoLabeller):
        raise SetupError(
            f'{key} is {type(module).__name__}, which is no pseudo-labeller: make it a subclass of '
            'mmseg_semi.step.pseudo_labels.PseudoLabeller (its forward(logits, valid, time) can stay as it is)'
        )


@MODELS.register_module()
class ConfidenceThreshold(PseudoLabeller):
    """Keeps a pixel if the teacher's probability is **greater** than a fixed threshold (FixMatch, arXiv 2001.07685).

    DDFP's released code keeps ``max prob > 0.95``: a pixel at exactly the threshold is ignored.

    Args:
        threshold: In [0, 1] (0.95). With 0 every valid pixel is kept.

    Raises:
        SetupError: The threshold is outside [0, 1].

    Example:
        >>> logits, valid = torch.randn(2, 3, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
        >>> pseudo = ConfidenceThreshold(threshold=0.5)(logits, valid, time=0)
        >>> torch.equal(pseudo.labels == IGNORE, pseudo.confidence <= 0.5)
        True
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
        # not "<=": a teacher that predicts NaN is not confident
        kept = pseudo.confidence > self.threshold
        return PseudoLabels(pseudo.labels.masked_fill(~kept, IGNORE), pseudo.confidence)


@MODELS.register_module()
class EntropyPercentile(PseudoLabeller):
    """Drops the most uncertain ``drop`` percent of the batch's valid pixels by entropy, see :func:`most_certain`.

    Args:
        drop: Percentage in [0, 100], a number or a schedule (``mmseg_semi.step.schedules``).

    Raises:
        SetupError: A percentage above 100, or no schedule.

    Example:
        >>> logits, valid = torch.randn(2, 3, 5, 10), torch.ones(2, 5, 10, dtype=torch.bool)
        >>> pseudo = EntropyPercentile(drop=20)(logits, valid, time=0)
        >>> (pseudo.labels != IGNORE).sum().item()
        80
    """

    def __init__(self, drop: float | dict = 20.0) -> None:
        super().__init__()
        self.drop = build_percentage(drop, 'pseudo_label.drop')

    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """See :func:`most_certain`; ``time``, in ``model.iters_per_epoch``, is where the schedule is evaluated."""
        return most_certain(logits, valid, self.drop(time))
