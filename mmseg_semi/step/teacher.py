"""The teacher's recipe: whose weights, which mode, which BN buffers, which rows, and until when it is a copy."""

import copy
from dataclasses import dataclass

from torch import nn

from mmseg_semi.errors import SetupError

_CHOICES = {
    'weights': ('ema', 'shared', 'student'),
    'mode': ('eval', 'train'),
    'buffers': ('copy', 'average', 'own'),
    'rows': ('weak', 'labeled+weak'),
}


@dataclass(frozen=True)
class TeacherRecipe:
    """How the network that labels the weak views comes about.

    Args:
        weights: 'ema' averages the student's parameters (``MeanTeacherHook``); 'shared' uses the student's parameters
            with a second set of buffers, so there is no second copy of weights; 'student' is the student itself.
        mode: 'eval' uses running statistics and no dropout; 'train' batch statistics over the teacher's rows, with
            dropout.
        buffers: What the teacher's buffers (BN statistics) are after each step: a 'copy' of the student's, an 'average'
            with the parameters' momentum (integer buffers are copied), or its 'own', moved only by its train-mode
            forwards.
        rows: 'weak' passes the unlabelled weak views; 'labeled+weak' the labelled images in front of them.
        start: Time (``model.iters_per_epoch``) at which averaging starts. Earlier steps leave an 'ema' teacher alone; the first update copies.
        copy_until: Up to this time (exclusive) an 'ema' teacher is copied from the student after every step.

    Raises:
        SetupError: A value that is not one of the above, or buffers that nothing would ever move.
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
                "model.teacher: buffers='own' are moved only by train-mode forwards, but mode='eval': set mode='train' or "
                "buffers='copy'"
            )


def build_teacher(student: nn.Module, recipe: TeacherRecipe) -> nn.Module | None:
    """A segmentor of the student's class: a frozen copy ('ema'), or one that holds the student's own parameters
    ('shared'), or None where the student is its own teacher."""
    if recipe.weights == 'student':
        return None
    teacher = copy.deepcopy(student)
    if recipe.weights == 'ema':
        return teacher.requires_grad_(False)
    for mine, theirs in zip(teacher.modules(), student.modules(), strict=True):
        for name, parameter in theirs.named_parameters(recurse=False):
            setattr(mine, name, parameter)
    return teacher
