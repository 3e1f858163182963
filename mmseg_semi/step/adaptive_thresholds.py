"""Pseudo-labellers whose thresholds follow from running statistics of the teacher's predictions.

A step's sums are taken when the labeller labels. They count from the next step on: :meth:`RunningLabeller.after_step` adds
them, over all ranks, after the optimiser's step. A step that fails before it changes nothing, and all ranks have one state. The
papers' code updates first and then labels the same batch; the difference is one step of an average over many.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.class_scores import softmax
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.networks import Networks, agreed_num_classes
from mmseg_semi.step.objective import Objective
from mmseg_semi.step.pseudo_labels import PseudoLabeller, check_labeller
from mmseg_semi.step.schedules import build_schedule
from mmseg_semi.step.views import PseudoLabels, StepViews, TeacherOutputs


class Prediction(NamedTuple):
    """The teacher's prediction for every pixel."""

    probabilities: Tensor
    """(N, K, H, W) float32."""
    labels: Tensor
    """(N, H, W) int64, the most probable class."""
    confidence: Tensor
    """(N, H, W) float32, its probability."""
    known: Tensor
    """(N, H, W) bool: valid, and neither inf nor NaN."""


def predict(logits: Tensor, valid: Tensor) -> Prediction:
    """Probabilities, classes and confidence of logits, and which pixels count.

    Args:
        logits: (N, K, H, W) class scores.
        valid: (N, H, W) bool, False where the pixel is padding.

    Example:
        >>> logits = torch.tensor([[0.0, 30.0], [float('nan'), 0.0]]).view(2, 2, 1, 1)
        >>> predict(logits, torch.ones(2, 1, 1, dtype=torch.bool)).known.flatten().tolist()
        [True, False]
    """
    probabilities = softmax(logits.float())
    confidence, labels = probabilities.max(dim=1)
    return Prediction(probabilities, labels, confidence, valid & confidence.isfinite())


def probability_sums(prediction: Prediction) -> Tensor:
    """(K,) float64, each class's probability summed over the known pixels.

    Example:
        >>> logits = torch.zeros(1, 2, 3, 3)
        >>> probability_sums(predict(logits, torch.ones(1, 3, 3, dtype=torch.bool))).tolist()
        [4.5, 4.5]
    """
    known = prediction.known[:, None]
    # not a product with `known`: NaN times 0 is NaN
    masked = prediction.probabilities.masked_fill(~known, 0.0)
    return masked.sum(dim=(0, 2, 3), dtype=torch.float64)


def class_counts(labels: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """(K,) int64, the number of counted pixels of each class.

    Args:
        labels: (N, H, W) int64 in [0, K) where counted.
        counted: (N, H, W) bool.
        num_classes: K.

    Example:
        >>> labels = torch.tensor([[[0, 1, 1, 255]]])
        >>> class_counts(labels, labels != 255, num_classes=3).tolist()
        [1, 2, 0]
    """
    counts = torch.zeros(num_classes, dtype=torch.int64, device=labels.device)
    index = labels.clamp(max=num_classes - 1).flatten()
    return counts.scatter_add_(0, index, counted.flatten().long())


_FIXED = 2.0**30


def class_sums(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(K,) float64, numbers in [0, 1] summed by class, to 1e-9 each.

    Args:
        values: (N, H, W).
        labels: (N, H, W) int64 in [0, K).
        num_classes: K.

    Example:
        >>> class_sums(torch.tensor([[[0.5, 0.25, 1.0]]]), torch.tensor([[[0, 0, 1]]]), num_classes=3).tolist()
        [0.75, 1.0, 0.0]
    """
    # integers: a GPU adds floats in another order each time, and a run could not be repeated
    fixed = (values.double() * _FIXED).round().long()
    sums = torch.zeros(num_classes, dtype=torch.int64, device=values.device)
    return sums.scatter_add_(0, labels.flatten(), fixed.flatten()).double() / _FIXED


def moving(old: Tensor, new: Tensor, momentum: float, known: Tensor) -> Tensor:
    """``momentum * old + (1 - momentum) * new`` where ``known``, else ``old``.

    Example:
        >>> moving(torch.zeros(2), torch.ones(2), 0.75, torch.tensor([True, False])).tolist()
        [0.25, 0.0]
    """
    return torch.where(known, momentum * old + (1 - momentum) * new, old)


def keep_confident(prediction: Prediction, thresholds: Tensor) -> PseudoLabels:
    """Keeps a known pixel if its confidence is **greater** than the threshold of its class.

    Args:
        prediction: From :func:`predict`.
        thresholds: (K,) probabilities.

    Example:
        >>> prediction = predict(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool))
        >>> keep_confident(prediction, torch.tensor([0.5, 0.0])).labels.item()  # not greater than 0.5
        255
    """
    labels, confidence, known = prediction[1:]
    kept = known & (confidence > thresholds.to(confidence.dtype)[labels])
    return PseudoLabels(labels.masked_fill(~kept, IGNORE), confidence.masked_fill(~known, 0.0))


def check_momentum(momentum: float, key: str = 'pseudo_label.momentum') -> float:
    """Returns a share of the old value; raises SetupError unless it is in [0, 1).

    Example:
        >>> check_momentum(0.99)
        0.99
    """
    if not 0 <= momentum < 1:
        raise SetupError(f'{key}={momentum}: expected the share of the old value, in [0, 1)')
    return float(momentum)


class RunningLabeller(PseudoLabeller):
    """Base class of labellers with running statistics.

    A subclass leaves the sums of a batch in ``self.seen`` when it labels, one float64 tensor; they are added over all ranks, and
    :meth:`update` gets the total after the optimiser's step. It implements :meth:`resize`, :meth:`update` and ``forward``, which
    have no default: what is kept, and how it follows, is the labeller.

    Args:
        num_classes: K; None takes the student's number.
        momentum: Share of the old statistics in an update, in [0, 1).
    """

    def __init__(self, num_classes: int | None, momentum: float) -> None:
        super().__init__()
        self.momentum = check_momentum(momentum)
        if num_classes is not None and num_classes < 1:
            raise SetupError(
                f'pseudo_label.num_classes={num_classes}: expected the number of classes'
            )
        self.num_classes = num_classes
        self.seen: Tensor | None = None
        self._new: Tensor | None = None
        self.resize(num_classes or 1)

    def resize(self, num_classes: int) -> None:
        """Makes the buffers for K classes, as they are before the first step."""
        raise NotImplementedError

    def update(self, sums: Tensor) -> None:
        """Updates the buffers by the sums of a step over all ranks."""
        raise NotImplementedError

    def bind(self, networks: Networks, objectives: Iterable[Objective] = ()) -> None:
        """Takes the number of classes."""
        if self.num_classes is None:
            self.resize(networks.num_classes)
        self.num_classes = agreed_num_classes(
            self.num_classes, networks.num_classes, 'model.pseudo_label'
        )

    def sums(self, views: StepViews) -> Tensor:
        """The sums of this step on this rank; a subclass adds what :meth:`forward` does not see."""
        return self.seen

    @torch.no_grad()
    def count(self, views: StepViews) -> None:
        """Takes the sums of the labels that this step made."""
        self._new, self.seen = self.sums(views), None

    @torch.no_grad()
    def after_step(self) -> None:
        """Updates the statistics by the step's sums over all ranks."""
        if self._new is None:
            return
        new, self._new = self._new, None
        all_reduce(new)
        self.update(new)


def threshold_metrics(thresholds: Tensor) -> dict[str, Tensor]:
    """Mean and smallest threshold over the classes, for the log."""
    return {'threshold': thresholds.mean(), 'threshold_min': thresholds.min()}


@MODELS.register_module()
class FreeMatchThreshold(RunningLabeller):
    """Self-adaptive thresholds by class (FreeMatch, ICLR 2023, arXiv 2205.07246, Eq. 5 to 8).

    The global threshold is the running mean of the confidence, tau. The local ones follow the running mean of the class
    probabilities, p: class c has the threshold tau p_c / max_c' p_c', so that a class that is rarely predicted has a low one.
    Both begin at 1/K. A pixel is kept if its confidence is greater than the threshold of its class.

    A mean runs over the valid pixels of all ranks, in the paper over images. p is therefore in units of area: a class of small
    objects has a threshold near 0, and almost all pixels predicted as it are kept. The paper's loss for fairness is left out.

    Args:
        num_classes: K; None takes the student's number.
        momentum: Share of the old means in an update, in [0, 1) (0.999).
        clip: Smallest and largest value of the global threshold in use, or None; the released code has (0, 0.95) as an option.

    State:
        level: 0-dim float64, tau. shares: (K,) float64, p.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> labeller = FreeMatchThreshold(num_classes=2)
        >>> labeller.thresholds().tolist()
        [0.5, 0.5]
        >>> logits, valid = torch.randn(2, 2, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
        >>> labeller(logits, valid, time=0).labels.shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        num_classes: int | None = None,
        momentum: float = 0.999,
        clip: Sequence[float] | None = None,
    ) -> None:
        if clip is not None and not (len(clip) == 2 and 0 <= clip[0] <= clip[1] <= 1):
            raise SetupError(
                f'pseudo_label.clip={clip}: expected None, or the smallest and the largest threshold in [0, 1]'
            )
        super().__init__(num_classes, momentum)
        self.clip = None if clip is None else tuple(clip)

    def resize(self, num_classes: int) -> None:
        start = torch.full((num_classes,), 1 / num_classes, dtype=torch.float64)
        self.register_buffer('level', start[0].clone())
        self.register_buffer('shares', start)

    def thresholds(self) -> Tensor:
        """(K,) float64, the threshold of each class."""
        level = self.level if self.clip is None else self.level.clamp(*self.clip)
        return level * self.shares / self.shares.max()

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """See the class; ``time`` is unused."""
        prediction = predict(logits, valid)
        by_class = probability_sums(prediction)
        known, confidence = prediction.known, prediction.confidence
        total = confidence.masked_fill(~known, 0.0).sum(dtype=torch.float64)
        self.seen = torch.cat([torch.stack([known.sum().double(), total]), by_class])
        return keep_confident(prediction, self.thresholds())

    def update(self, sums: Tensor) -> None:
        count, means = sums[0], sums[1:] / sums[0].clamp(min=1)
        self.level.copy_(moving(self.level, means[0], self.momentum, count > 0))
        self.shares.copy_(moving(self.shares, means[1:], self.momentum, count > 0))

    @torch.no_grad()
    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """Mean and smallest threshold."""
        return threshold_metrics(self.thresholds())


TARGETS = ('labels', 'uniform')
SMALLEST_SHARE = 1e-6
"""Running shares are at least this where they are divided by, so that a class that is never predicted has a finite factor."""


@MODELS.register_module()
class DistributionAlignment(RunningLabeller):
    """Aligns the classes of the teacher's predictions with those of the labels, then labels by any labeller.

    The teacher's probabilities are multiplied by (target_c / running_c)^power and normalised (ReMixMatch, ICLR 2020,
    arXiv 1911.09785, Sec. 3.1), as an offset of the logits. ``running`` is the running mean of the teacher's unaligned
    probabilities over valid pixels, and the target the share of each class among the labelled pixels of all steps so far.
    Nothing changes until both are known. A class without a labelled pixel so far has the factor 1: its score is neither raised
    nor lowered.

    The paper averages over the last 128 batches of images, and its target is that of the labelled set. Here both are shares of
    area in the training crops, so crops of both kinds should be made alike. Labels must be representative of the unlabelled
    images: if they come from other scenes, aligned labels are wrong by design.

    Args:
        labeller: Config of the labeller of the aligned predictions; default: every valid pixel.
        momentum: Share of the old ``running`` in an update, in [0, 1). The first step sets it.
        power: Exponent of the factor, >= 0; below 1 it aligns in part.
        target: 'labels', or 'uniform' (all classes alike, for instance in SoftMatch, arXiv 2301.10921).
        num_classes: K; None takes the student's number.

    State:
        running: (K,) float64, 0 before the first step. counts: (K,) int64, labelled pixels of all ranks. ``labeller.*``.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> labeller = DistributionAlignment(target='uniform', num_classes=2)
        >>> labeller.running.copy_(torch.tensor([0.75, 0.25])).tolist()
        [0.75, 0.25]
        >>> logits = torch.tensor([0.7, 0.3]).log().view(1, 2, 1, 1)
        >>> labeller(logits, torch.ones(1, 1, 1, dtype=torch.bool), time=0).labels.item()  # 0.7 / 0.75 < 0.3 / 0.25
        1
    """

    def __init__(
        self,
        labeller: dict | None = None,
        momentum: float = 0.99,
        power: float = 1.0,
        target: str = 'labels',
        num_classes: int | None = None,
    ) -> None:
        if not power >= 0 or power == float('inf'):
            raise SetupError(f'pseudo_label.power={power}: expected a finite exponent >= 0')
        if target not in TARGETS:
            raise SetupError(f"pseudo_label.target='{target}': expected one of {TARGETS}")
        super().__init__(num_classes, momentum)
        self.power, self.target = float(power), target
        self.labeller = MODELS.build(labeller or dict(type='ConfidenceThreshold', threshold=0.0))
        check_labeller(self.labeller, 'model.pseudo_label.labeller')
        self.needs = self.labeller.needs
        self.gives_weights = self.labeller.gives_weights

    def resize(self, num_classes: int) -> None:
        self.register_buffer('running', torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))

    def bind(self, networks: Networks, objectives: Iterable[Objective] = ()) -> None:
        """Takes the number of classes, and binds the labeller."""
        super().bind(networks, objectives)
        self.labeller.bind(networks, objectives)

    def offset(self) -> Tensor:
        """(K,) float64, what is added to the logits."""
        if self.target == 'uniform':
            target = torch.full_like(self.running, 1 / len(self.running))
        else:
            target = self.counts.double() / self.counts.sum().clamp(min=1)
        factor = (
            target.clamp(min=SMALLEST_SHARE).log() - self.running.clamp(min=SMALLEST_SHARE).log()
        )
        # `running` sums to 1 from the first step on
        aligned = (target > 0) & (self.running.sum() > 0)
        return torch.where(aligned, self.power * factor, 0.0)

    def correct(
        self, outputs: TeacherOutputs, valid: Tensor
    ) -> tuple[Tensor, Sequence[Any] | None]:
        """That of the labeller."""
        return self.labeller.correct(outputs, valid)

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """Labels of the aligned logits, by ``labeller``."""
        logits = logits.float()
        prediction = predict(logits, valid)
        self.seen = torch.cat([prediction.known.sum().double()[None], probability_sums(prediction)])
        offset = self.offset().to(logits.dtype)
        return self.labeller(logits + offset[:, None, None], valid, time)

    def sums(self, views: StepViews) -> Tensor:
        label_l = views.batch.label_l
        labels = class_counts(label_l, label_l != IGNORE, len(self.counts))
        return torch.cat([self.seen, labels.double()])

    def update(self, sums: Tensor) -> None:
        count, (total, labels) = sums[0], sums[1:].chunk(2)
        momentum = torch.where(self.running.sum() > 0, self.momentum, 0.0)
        self.running.copy_(moving(self.running, total / count.clamp(min=1), momentum, count > 0))
        self.counts.add_(labels.long())

    @torch.no_grad()
    def count(self, views: StepViews) -> None:
        """Takes the step's sums, its own and the labeller's."""
        super().count(views)
        self.labeller.count(views)

    @torch.no_grad()
    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """The largest factor, and the metrics of the labeller."""
        return self.labeller.metrics(views) | {'alignment': self.offset().max().exp()}

    def after_step(self) -> None:
        """Updates both statistics."""
        super().after_step()
        self.labeller.after_step()


@MODELS.register_module()
class SoftMatchWeight(RunningLabeller):
    """Weights every valid pixel by its confidence (SoftMatch, ICLR 2023, arXiv 2301.10921, Eq. 5 to 8).

    A confidence x below the running mean mu has the weight exp(-(n_sigma (x - mu))^2 / (2 sigma^2)), any other one the weight 1: a
    Gaussian that is cut off. sigma^2 is the running mean of the batch's variance, with Bessel's correction. They begin at
    mu = 1/K and sigma^2 = 1.

    Mean and variance are those of the valid pixels of all ranks, in the paper of images. The paper aligns the classes for the
    weights alone, with a uniform target: ``DistributionAlignment(labeller=dict(type='SoftMatchWeight'), target='uniform')``
    aligns weights and labels.

    Args:
        num_classes: K; None takes the student's number.
        momentum: Share of the old mean and variance in an update, in [0, 1) (0.999).
        n_sigma: Number of sigmas that the width of the Gaussian is divided by, > 0: 1 is the paper's formula, 2 the released
            code.
        per_class: Keep mean and variance for each predicted class. A class that fewer than two pixels of a step are predicted
            as keeps its own.

    State:
        mean, variance: 0-dim float64, or (K,) with ``per_class``.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> labeller = SoftMatchWeight(num_classes=2)
        >>> _ = labeller.mean.fill_(0.9), labeller.variance.fill_(0.01)
        >>> logits = torch.tensor([[0.95, 0.85], [0.05, 0.15]]).log().view(1, 2, 1, 2)
        >>> weight = labeller(logits, torch.ones(1, 1, 2, dtype=torch.bool), time=0).weight
        >>> [round(w, 4) for w in weight.flatten().tolist()]  # exp(-0.1^2 / 0.02)
        [1.0, 0.6065]
    """

    gives_weights = True

    def __init__(
        self,
        num_classes: int | None = None,
        momentum: float = 0.999,
        n_sigma: float = 2.0,
        per_class: bool = False,
    ) -> None:
        if not 0 < n_sigma < float('inf'):
            raise SetupError(f'pseudo_label.n_sigma={n_sigma}: expected a finite number > 0')
        self.per_class, self.n_sigma = bool(per_class), float(n_sigma)  # read by resize
        super().__init__(num_classes, momentum)

    def resize(self, num_classes: int) -> None:
        shape = (num_classes,) if self.per_class else ()
        mean = torch.full(shape, 1 / num_classes, dtype=torch.float64)
        self.register_buffer('mean', mean)
        self.register_buffer('variance', torch.ones_like(mean))

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """See the class; ``time`` is unused."""
        _, labels, confidence, known = predict(logits, valid)
        confidence = confidence.masked_fill(~known, 0.0)
        self.seen = self._moments(labels, confidence, known)
        mean, variance = self.mean.float(), self.variance.float()
        if self.per_class:
            mean, variance = mean[labels], variance[labels]
        below = (confidence - mean).clamp(max=0) * self.n_sigma
        # a variance of 0 is that of one value: every confidence below it has the weight 0
        weight = torch.exp(-below.square() / (2 * variance.clamp(min=1e-12)))
        return PseudoLabels(
            labels.masked_fill(~known, IGNORE), confidence, weight=weight.masked_fill(~known, 0.0)
        )

    def _moments(self, labels: Tensor, confidence: Tensor, known: Tensor) -> Tensor:
        """(3, 1) or (3, K) float64: number of pixels, sum and sum of squares of their confidence."""
        values = confidence.double()
        if not self.per_class:
            return torch.stack([known.sum().double(), values.sum(), values.square().sum()])[:, None]
        count = len(self.mean)
        sums = [class_sums(x, labels, count) for x in (values, values.square())]
        return torch.stack([class_counts(labels, known, count).double(), *sums])

    def update(self, sums: Tensor) -> None:
        count, total, squares = sums if self.per_class else sums[:, 0]
        mean = total / count.clamp(min=1)
        # in float64: the confidence is at most 1, so the difference keeps ten digits
        variance = (squares - count * mean.square()).clamp(min=0) / (count - 1).clamp(min=1)
        known = count > 1
        self.mean.copy_(moving(self.mean, mean, self.momentum, known))
        self.variance.copy_(moving(self.variance, variance, self.momentum, known))

    @torch.no_grad()
    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """Mean and standard deviation of the confidence, and the mean weight of the valid pixels."""
        weight, valid = views.teacher.pseudo_u.weight, views.batch.unlabeled.valid_u
        return {
            'confidence': self.mean.mean(),
            'deviation': self.variance.sqrt().mean(),
            'weight': weight.sum() / valid.sum().clamp(min=1),
        }


@MODELS.register_module()
class FlexMatchThreshold(RunningLabeller):
    """Curriculum thresholds by class (FlexMatch, NeurIPS 2021, arXiv 2110.08263, Eq. 5 to 7, warm-up and convex map).

    s_c is the share of the pixels that are predicted as class c with a confidence above ``threshold``, how well c is learned.
    beta_c = s_c / max(max_c' s_c', 1 - sum_c' s_c'), where the second term, the share of pixels without a confident prediction,
    keeps all thresholds low at first; class c has the threshold ``threshold`` M(beta_c), M(x) = x / (2 - x). All thresholds
    begin at 0.

    The paper keeps the last confident prediction of each image of the unlabelled set. One for each pixel of a data set would be
    gigabytes and would not follow its crops, so s_c is a running mean over the valid pixels of all ranks. Shares are therefore
    of area: a class of small objects is never "learned" as well as the largest one, and its threshold stays near 0 for that
    reason too.

    Args:
        threshold: Largest threshold, in (0, 1] (0.95).
        momentum: Share of the old shares in an update, in [0, 1).
        num_classes: K; None takes the student's number.

    State:
        shares: (K,) float64, s.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> labeller = FlexMatchThreshold(threshold=0.9, num_classes=2)
        >>> labeller.shares.copy_(torch.tensor([0.5, 0.25])).tolist()
        [0.5, 0.25]
        >>> [round(t, 6) for t in labeller.thresholds().tolist()]
        [0.9, 0.3]
    """

    def __init__(
        self, threshold: float = 0.95, momentum: float = 0.99, num_classes: int | None = None
    ) -> None:
        if not 0 < threshold <= 1:
            raise SetupError(
                f'pseudo_label.threshold={threshold}: expected a probability in (0, 1]'
            )
        super().__init__(num_classes, momentum)
        self.threshold = float(threshold)

    def resize(self, num_classes: int) -> None:
        self.register_buffer('shares', torch.zeros(num_classes, dtype=torch.float64))

    def thresholds(self) -> Tensor:
        """(K,) float64, the threshold of each class."""
        most = torch.maximum(self.shares.max(), 1 - self.shares.sum())
        beta = self.shares / most
        return self.threshold * beta / (2 - beta)

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """See the class; ``time`` is unused."""
        prediction = predict(logits, valid)
        _, labels, confidence, known = prediction
        confident = known & (confidence > self.threshold)
        counts = class_counts(labels, confident, len(self.shares))
        self.seen = torch.cat([known.sum()[None], counts]).double()
        return keep_confident(prediction, self.thresholds())

    def update(self, sums: Tensor) -> None:
        count, shares = sums[0], sums[1:] / sums[0].clamp(min=1)
        self.shares.copy_(moving(self.shares, shares, self.momentum, count > 0))

    @torch.no_grad()
    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """Mean and smallest threshold."""
        return threshold_metrics(self.thresholds())


DECADES = 7
"""The histograms of :class:`ClassShareThreshold` reach to 1 - 10^-7, next to which float32 has one number below 1."""


def certainty(confidence: Tensor) -> Tensor:
    """Maps probabilities to [0, 1] so that each power of ten of 1 - p has an equal part: -log10(1 - p) / 7.

    Example:
        >>> [round(c, 4) for c in certainty(torch.tensor([0.5, 0.9, 0.99, 1.0])).tolist()]
        [0.043, 0.1429, 0.2857, 1.0]
    """
    return -(1 - confidence).clamp(min=10.0**-DECADES).log10() / DECADES


@MODELS.register_module()
class ClassShareThreshold(RunningLabeller):
    """Keeps the same share of every class: the most confident pixels of those predicted as it.

    Class-balanced self-training (CBST, ECCV 2018, arXiv 1810.07911) chooses the threshold of a class so that a share of the
    pixels predicted as it lies above. The paper sorts the confidences of the whole unlabelled set between rounds of training;
    here every class has a histogram, a running mean over the valid pixels of all ranks. Its bins are equal in log(1 - p), because
    most confidences are close to 1 (:func:`certainty`), and the quantile is interpolated within a bin. A class that no pixel has
    been predicted as so far has the threshold 0.

    Args:
        keep: Share of the pixels, in [0, 1], a number or a schedule (``mmseg_semi.step.schedules``). The paper begins with
            0.2 and adds 0.05 a round, up to 0.5.
        momentum: Share of the old histogram in an update, in [0, 1).
        bins: Bins of a histogram, >= 2.
        num_classes: K; None takes the student's number.

    State:
        histogram: (K, bins) float64, shares of the valid pixels.

    Raises:
        SetupError: A value out of range, or no schedule.

    Example:
        >>> labeller = ClassShareThreshold(keep=0.25, momentum=0.0, num_classes=3)
        >>> logits, valid = 3 * torch.randn(2, 3, 40, 50), torch.ones(2, 40, 50, dtype=torch.bool)
        >>> _ = labeller(logits, valid, time=0), labeller.update(labeller.seen)
        >>> kept = labeller(logits, valid, time=0).labels != IGNORE
        >>> round(kept.float().mean().item(), 2)
        0.25
    """

    def __init__(
        self,
        keep: float | dict = 0.5,
        momentum: float = 0.99,
        bins: int = 256,
        num_classes: int | None = None,
    ) -> None:
        schedule = build_schedule(keep, 'pseudo_label.keep')
        if max(getattr(schedule, 'values', None) or [schedule.value]) > 1:
            raise SetupError(f'pseudo_label.keep={keep}: expected shares in [0, 1]')
        if bins < 2:
            raise SetupError(f'pseudo_label.bins={bins}: expected at least 2 bins')
        self.keep, self.bins = schedule, int(bins)  # read by resize
        super().__init__(num_classes, momentum)

    def resize(self, num_classes: int) -> None:
        zeros = torch.zeros(num_classes, self.bins, dtype=torch.float64)
        self.register_buffer('histogram', zeros)

    def levels(self, keep: float) -> Tensor:
        """(K,) float64, the certainty above which a share ``keep`` of each class lies; -1 for a class without pixels."""
        # no pixel, whatever comes, or every pixel, also one less certain than all before
        if keep in (0, 1):
            return torch.full_like(self.histogram[:, 0], 1.0 if keep == 0 else -1.0)
        above = self.histogram.flip(1).cumsum(1).flip(1)  # from this bin on
        total = above[:, 0]
        wanted = keep * total
        # the last bin from which on there are at least as many as wanted
        index = ((above >= wanted[:, None]).sum(dim=1) - 1).clamp(min=0)[:, None]
        inside = self.histogram.gather(1, index)[:, 0]
        missing = above.gather(1, index)[:, 0] - wanted
        part = (missing / inside.clamp(min=1e-300)).clamp(0, 1)
        return torch.where(total > 0, (index[:, 0] + part) / self.bins, -1.0)

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """See the class; ``time``, in ``model.iters_per_epoch``, is where the schedule is evaluated."""
        _, labels, confidence, known = predict(logits, valid)
        confidence = confidence.masked_fill(~known, 0.0)
        certain = certainty(confidence)
        classes, bins = self.histogram.shape
        places = (certain * bins).long().clamp(max=bins - 1)
        self.seen = class_counts(labels * bins + places, known, classes * bins).double()
        keep = self.keep(time)
        kept = known & (certain > self.levels(keep).to(certain.dtype)[labels])
        return PseudoLabels(labels.masked_fill(~kept, IGNORE), confidence)

    def update(self, sums: Tensor) -> None:
        count = sums.sum()
        shares = (sums / count.clamp(min=1)).view_as(self.histogram)
        self.histogram.copy_(moving(self.histogram, shares, self.momentum, count > 0))

    @torch.no_grad()
    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """Mean and smallest threshold, as probabilities."""
        levels = self.levels(self.keep(views.batch.time)).clamp(min=0)
        return threshold_metrics(1 - 10.0 ** (-DECADES * levels))
