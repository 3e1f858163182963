"""The teacher: its recipe, its network, and the average of the student's weights that it is.

The average is the mean teacher of Tarvainen & Valpola, arXiv 1703.01780.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg_semi.errors import SetupError

_CHOICES = {
    'weights': ('ema', 'shared', 'student'),
    'mode': ('eval', 'train'),
    'buffers': ('copy', 'average', 'own'),
    'rows': ('weak', 'labeled+weak'),
}


@dataclass(frozen=True)
class TeacherRecipe:
    """Which network labels the unlabelled images, and how it follows the student.

    Args:
        weights: 'ema' averages the student's parameters (``MeanTeacherHook``); 'shared' uses the student's parameters
            with a second set of buffers, so there is no second copy of weights; 'student' is the student itself.
        mode: 'eval' uses running statistics and no dropout; 'train' batch statistics over the teacher's images, with
            dropout.
        buffers: What the teacher's buffers (BN statistics) are after each step: a 'copy' of the student's, an 'average'
            with the parameters' momentum (integer buffers are copied), or its 'own', which only its train-mode forward
            passes change.
        rows: Images that pass the teacher: 'weak', the weak views of unlabelled images; 'labeled+weak', the labelled
            images before them.
        start: Time, in ``model.iters_per_epoch``, at which averaging starts. Earlier steps do not change an 'ema' teacher;
            the first update copies.
        copy_until: Up to this time (exclusive) an 'ema' teacher is copied from the student after every step.

    Raises:
        SetupError: A value that is not one of the above, or buffers that nothing would ever update.
    """

    weights: str = 'ema'
    mode: str = 'eval'
    buffers: str = 'copy'
    rows: str = 'labeled+weak'
    start: float = 0
    copy_until: float = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise SetupError(
                    f"model.teacher.{name}='{getattr(self, name)}': expected one of {choices}"
                )
        if self.start < 0 or self.copy_until < 0:
            raise SetupError(
                f'model.teacher: start={self.start}, copy_until={self.copy_until}; expected times >= 0'
            )
        if self.weights != 'student' and self.buffers == 'own' and self.mode == 'eval':
            raise SetupError(
                "model.teacher: buffers='own' are updated only by train-mode forward passes, but mode='eval': set "
                "mode='train' or buffers='copy'"
            )

    @property
    def follows(self) -> bool:
        """Whether the teacher has tensors that must be updated after every step."""
        return self.weights == 'ema' or (self.weights == 'shared' and self.buffers != 'own')


def build_teacher(student: nn.Module, recipe: TeacherRecipe) -> nn.Module | None:
    """Builds a teacher of the student's class.

    Returns:
        A frozen copy ('ema'), a network that holds the student's own parameters ('shared'), or None if the student is its
        own teacher ('student').

    Example:
        >>> student = nn.BatchNorm2d(3)
        >>> teacher = build_teacher(student, TeacherRecipe(weights='shared'))
        >>> teacher.weight is student.weight, teacher.running_mean is student.running_mean
        (True, False)
    """
    if recipe.weights == 'student':
        return None
    teacher = copy.deepcopy(student)
    if recipe.weights == 'ema':
        return teacher.requires_grad_(False)
    for mine, theirs in zip(teacher.modules(), student.modules(), strict=True):
        for name, parameter in theirs.named_parameters(recurse=False):
            setattr(mine, name, parameter)
    return teacher


class MovingAverage:
    """Updates a teacher from its student: theta_T <- d theta_T + (1 - d) theta_S, d = min(1 - 1/(n + 1), 1 - momentum).

    n counts iterations from ``start``, so the first update copies, and d reaches 0.999 at n = 999. With a later ``start``
    the teacher is also copied after the iteration before it, so that its first pseudo-labels come from a trained
    network. Before ``copy_until`` every update copies.

    Args:
        teacher: Network that is updated in place.
        student: Network of the same structure.
        momentum: Share of the student in an update, in (0, 1]: 0.001, not 0.999.
        weights: 'ema' averages parameters and treats buffers as ``buffers`` says; 'shared' treats buffers only.
        buffers: 'copy', 'average' (integer buffers are copied) or 'own' (no change).
        start: Iteration at which averaging starts.
        copy_until: Iteration up to which (exclusive) every update copies.
        interval: Update every so many iterations.

    Raises:
        SetupError: Averaged tensors have half precision, in which small steps round away: with a momentum of 0.0004 bfloat16
            stays at 1.0 after 1,000 steps towards 2.0.

    Example:
        >>> student = nn.Linear(2, 1)
        >>> teacher = build_teacher(student, TeacherRecipe())
        >>> average = MovingAverage(teacher, student, momentum=0.1)
        >>> average.update(iteration=0)  # after the optimiser's step
        >>> [average.decay(iteration) for iteration in (0, 1, 9, 1000)]
        [0.0, 0.5, 0.9, 0.9]
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        momentum: float = 0.001,
        weights: str = 'ema',
        buffers: str = 'copy',
        start: int = 0,
        copy_until: int = 0,
        interval: int = 1,
    ) -> None:
        self.momentum, self.interval = momentum, interval
        self.start, self.copy_until = start, copy_until
        # listed once: an update is then a few fused calls
        self._averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._copied: tuple[list[Tensor], list[Tensor]] = ([], [])
        if weights == 'ema':
            self._averaged = [*teacher.parameters()], [*student.parameters()]
        pairs = zip(teacher.buffers(), student.buffers(), strict=True)
        for mine, theirs in () if buffers == 'own' else pairs:
            average = buffers == 'average' and mine.is_floating_point()
            targets, sources = self._averaged if average else self._copied
            targets.append(mine)
            sources.append(theirs)
        half = {
            str(t.dtype) for t in self._averaged[0] if t.dtype in (torch.float16, torch.bfloat16)
        }
        if half and momentum < 1:
            raise SetupError(
                f'model.teacher: its weights are {min(half)}, in which an average of momentum {momentum:g} stands still; keep the '
                'model in float32 and train with --amp, which computes in half precision all the same'
            )

    def decay(self, iteration: int) -> float:
        """d of the update after this iteration."""
        if iteration < max(self.start, self.copy_until):
            return 0.0
        return min(1 - 1 / (iteration - self.start + 1), 1 - self.momentum)

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Updates the teacher after the student's step of this iteration; does nothing before ``start`` and between
        intervals."""
        if iteration + 1 < self.start:
            return
        if iteration >= self.start and (iteration + 1) % self.interval:
            return
        decay = self.decay(iteration)
        mine, theirs = self._averaged
        if mine and decay == 0:
            torch._foreach_copy_(mine, theirs)
        elif mine:
            torch._foreach_lerp_(mine, theirs, 1 - decay)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)
