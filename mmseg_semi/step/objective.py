"""The base class of objectives: what a part of the training loss asks of a step, and what it does with it."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.schedules import build_schedule
from mmseg_semi.step.views import STRONG, StepViews


@dataclass(frozen=True)
class Needs:
    """What one objective asks of a step; the segmentor computes the union over all objectives and nothing else.

    Example:
        >>> Needs(labeled=True) | Needs(strong=True) == Needs(labeled=True, strong=True)
        True
        >>> Needs(labeled=True).unlabeled
        False
        >>> Needs(views={'strong'}) == Needs(strong=True)
        True
    """

    labeled: bool = False
    """The student's outputs for the labelled images."""
    strong: bool = False
    """The student's outputs for the mixed strong view of the unlabelled images, and its pseudo-labels: a short form of
    ``views={'strong'}``."""
    views: frozenset[str] = frozenset()
    """Names of the views, strong ones and feature views, for which the student's outputs and pseudo-labels are needed."""
    weak: bool = False
    """The student's outputs for the weak view of the unlabelled images."""
    weak_features: bool = False
    """The same outputs, but the objective trains through their features alone. Unless another objective asks for ``weak``,
    stage 2 of the head then runs without a graph, in a separate call."""
    teacher: bool = False
    """The teacher's logits for the images that ``model.teacher.rows`` names."""
    teacher_features: bool = False
    """The teacher's penultimate features for the same images."""
    projection: bool = False
    """The projection of the student's features (:meth:`Objective.get_projection`), for all segments of a call."""
    auxiliary_half: bool = False
    """Route the last half of the student's images through the head's auxiliary norms (DDFP's released warm-up)."""

    def __post_init__(self) -> None:
        views = frozenset(self.views) | (frozenset([STRONG]) if self.strong else frozenset())
        object.__setattr__(self, 'views', views)
        object.__setattr__(self, 'strong', STRONG in views)

    @property
    def pseudo_labels(self) -> bool:
        """Whether any of it needs pseudo-labels."""
        return bool(self.views)

    @property
    def any_teacher(self) -> bool:
        """Whether any of it needs the teacher's outputs."""
        return self.pseudo_labels or self.teacher or self.teacher_features

    @property
    def unlabeled(self) -> bool:
        """Whether any of it needs unlabelled images."""
        return self.any_teacher or self.weak or self.weak_features

    def __or__(self, other: 'Needs') -> 'Needs':
        return Needs(
            **{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)}
        )


class Objective(nn.Module):
    """Base class of all objectives, the parts of the training loss.

    A subclass sets :attr:`all_needs` and implements :meth:`compute`. It overrides :meth:`bind`, :meth:`check_data`,
    :meth:`needs`, :meth:`idle_parameters` and :meth:`after_step` where the defaults do not fit. While its weight is 0, an
    objective asks for nothing and contributes an exact 0 that touches :meth:`idle_parameters`, so that
    DistributedDataParallel sees them used.

    Args:
        weight: A number or a schedule (``mmseg_semi.step.schedules``).
        name: Prefix of its log names; unique among the objectives of a segmentor.

    Raises:
        SetupError: ``weight`` is no schedule, or ``name`` contains 'loss', which would make MMEngine sum all its log values.

    Example:
        >>> class SmallLogits(Objective):
        ...     all_needs = Needs(labeled=True)
        ...     def compute(self, views):
        ...         return {'loss': views.student.labeled.logits.square().mean()}
        >>> SmallLogits(weight=0.1, name='small').needs(time=0) == Needs(labeled=True)
        True
    """

    all_needs = Needs()
    """What the objective asks for while it is active."""

    def __init__(self, weight: float | dict = 1.0, name: str = 'objective') -> None:
        super().__init__()
        if 'loss' in name:
            raise SetupError(
                f"objectives: name='{name}' contains 'loss', which marks what is summed for the backward pass: choose "
                'another name'
            )
        self.name = name
        self.weight = build_schedule(weight, f'{name}.weight')

    # -- before training -------------------------------------------------------------------------------------------------

    def bind(self, networks: Networks) -> None:
        """Takes from the built networks what the objective works with, and builds modules whose sizes depend on them.

        Keep networks and their modules in a tuple, or keep ``networks`` itself, so that PyTorch does not register them a
        second time.

        Raises:
            SetupError: The head or the teacher cannot serve this objective.
        """

    def get_projection(self) -> nn.Module | None:
        """The module that maps the student's features (N, C, h, w) to (N, D, h, w) for ``Needs.projection``, from
        :meth:`bind` on; None by default. One objective of a recipe may give one."""
        return None

    def get_estimator(self) -> nn.Module | None:
        """A density model outside the student's optimiser, from :meth:`bind` on; None by default. ``FlowEstimatorHook``
        fits it on :meth:`estimator_loss`, inside its context manager ``trainable()``."""
        return None

    def check_data(self, dataset: Any) -> None:
        """Checks the training data, a ``SemiDataset``, before the first iteration.

        Raises:
            SetupError: The data lack what the objective learns from.
        """

    def init_weights(self) -> None:
        """Initialises the objective's modules; called once, after the student's initialisation."""

    # -- the step --------------------------------------------------------------------------------------------------------

    def needs(self, time: float) -> Needs:
        """What a step at this time asks for; an objective with phases overrides it."""
        return self.all_needs if self.weight(time) > 0 else Needs()

    def idle_parameters(self) -> list[nn.Parameter]:
        """Trainable parameters that only this objective's loss reaches."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def loss(self, views: StepViews) -> dict[str, Tensor]:
        """Weighted losses, whose names contain 'loss', and metrics for logging of this step."""
        weight = self.weight(views.batch.time)
        if weight == 0:
            parameters = self.idle_parameters()
            return (
                {'loss': sum(0.0 * parameter.sum() for parameter in parameters)}
                if parameters
                else {}
            )
        return {
            key: value * weight if 'loss' in key else value.detach()
            for key, value in self.compute(views).items()
        }

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        """Unweighted losses and metrics for logging; only called while the weight is positive."""
        raise NotImplementedError

    # -- after the step --------------------------------------------------------------------------------------------------

    def estimator_loss(self) -> Tensor | None:
        """The loss that fits :meth:`get_estimator`, once after each optimiser step; None if there is nothing to fit now."""
        return None

    def after_step(self, views: StepViews) -> None:
        """Updates banks, counts and the like, after the optimiser's step and before the teacher's.

        ``views.student`` is None here: :meth:`loss` keeps a bounded, detached sample of what this method needs.
        """


def share(part: Tensor, whole: Tensor) -> Tensor:
    """The share of True pixels of ``part`` among those of ``whole``, 0-dim float32; 0 where ``whole`` is empty.

    Example:
        >>> share(torch.tensor([True, False]), torch.tensor([True, True]))
        tensor(0.5000)
    """
    return (part & whole).sum() / whole.sum().clamp(min=1).to(torch.float32)


def check_background(classes: tuple[int, ...], num_classes: int, name: str) -> None:
    """Raises SetupError if ``background_classes`` names a class that the student does not have."""
    unknown = [c for c in classes if not 0 <= c < num_classes]
    if unknown:
        raise SetupError(
            f'{name}.background_classes={classes}: the student has no class {unknown[0]}, its classes are 0 to '
            f'{num_classes - 1}'
        )
