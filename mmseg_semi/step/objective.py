"""What every objective is: a module that says what it needs of a step and turns the step's views into losses."""

from typing import Any

import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.step.schedules import build_schedule
from mmseg_semi.step.views import Needs, StepViews


class Objective(nn.Module):
    """Base of all objectives.

    A subclass sets :attr:`all_needs`, implements :meth:`compute`, and overrides :meth:`bind`, :meth:`check_data`,
    :meth:`needs` and :meth:`after_step` where it has more to say. While its weight is 0 an objective asks for nothing and contributes an
    exact 0 that touches :meth:`idle_parameters`, so that DistributedDataParallel sees them used.

    Args:
        weight: A number or a schedule (``mmseg_semi.step.schedules``).
        name: Prefix of its log names; unique among the objectives of a segmentor.

    Raises:
        SetupError: No schedule; a name with 'loss' in it, by which MMEngine would sum all its log values.
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

    def bind(self, segmentor: nn.Module) -> None:
        """Takes from the finished segmentor what the objective works with; checks that it can.

        Store references to networks in a tuple or a plain object, so that they are not registered a second time.

        Raises:
            SetupError: The segmentor's head or recipe cannot serve this objective.
        """

    def check_data(self, dataset: Any) -> None:
        """Looks at the training data, a ``SemiDataset``, before the first iteration.

        Raises:
            SetupError: They lack what the objective learns from.
        """

    def init_weights(self) -> None:
        """Initialises modules of the objective's own; called once, after the student's initialisation."""

    def needs(self, time: float) -> Needs:
        """What a step at this time asks for; phases live here."""
        return self.all_needs if self.weight(time) > 0 else Needs()

    def idle_parameters(self) -> list[nn.Parameter]:
        """Trainable parameters that only this objective's loss reaches."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def loss(self, views: StepViews) -> dict[str, Tensor]:
        """Weighted losses (names contain 'loss') and log values of this step."""
        weight = self.weight(views.time)
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
        """Unweighted losses and log values; only called while the weight is positive."""
        raise NotImplementedError

    def after_step(self, views: StepViews) -> None:
        """Updates banks, counts and the like, after the optimiser's step and before the teacher's.

        The views no longer hold the student's rows: :meth:`loss` keeps a bounded, detached sample of what this needs.
        """


def share(part: Tensor, whole: Tensor) -> Tensor:
    """The share of True pixels of ``part`` among those of ``whole``, 0-dim float32; 0 where ``whole`` is empty."""
    return (part & whole).sum() / whole.sum().clamp(min=1).to(torch.float32)


def check_background(classes: tuple[int, ...], num_classes: int, name: str) -> None:
    """Raise SetupError where ``background_classes`` names a class that the student does not have."""
    unknown = [c for c in classes if not 0 <= c < num_classes]
    if unknown:
        raise SetupError(
            f'{name}.background_classes={classes}: the student has no class {unknown[0]}, its classes are 0 to '
            f'{num_classes - 1}'
        )
