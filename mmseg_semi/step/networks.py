"""The student, the teacher, and which of them predicts."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import two_stage
from mmseg_semi.step.memory_format import choose_memory_format, set_memory_format
from mmseg_semi.step.teacher import TeacherRecipe, build_teacher

if TYPE_CHECKING:
    from mmseg_semi.step.pseudo_labels import PseudoLabeller


@dataclass(eq=False)
class Networks:
    """The networks of a recipe and what describes them; objectives and the pseudo-labeller are bound to this.

    Example:
        >>> head = nn.Module()
        >>> student = nn.Module()
        >>> student.decode_head, student.num_classes, student.align_corners = head, 3, False
        >>> Networks(student).num_classes
        3
    """

    student: nn.Module
    """A plain ``EncoderDecoder``."""
    teacher: nn.Module | None = None
    """The same, or None if there is no teacher or the student is its own teacher."""
    recipe: TeacherRecipe | None = None
    """The teacher's recipe, ``model.teacher``; None if there is no teacher."""
    pseudo_label: 'PseudoLabeller | None' = None
    """The recipe's pseudo-labeller, for objectives that train what it uses."""
    iters_per_epoch: int = 1
    """Iterations of a unit of time, ``model.iters_per_epoch``."""
    peer: 'Networks | None' = None
    """The networks of the other student, which labels for this one, if there are two (``model.peer``)."""
    class_names: Sequence[str] | None = None
    """Names of the classes for messages; the checks before training set them, because the data know them."""

    @property
    def num_classes(self) -> int:
        """K, from ``model.student.decode_head.num_classes``."""
        return self.student.num_classes

    @property
    def align_corners(self) -> bool:
        """How the head resizes its logits."""
        return self.student.align_corners

    @property
    def stages(self):
        """The two-stage view of the student's head, see :func:`~mmseg_semi.heads.two_stage.two_stage`."""
        return two_stage(self.student.decode_head)

    @property
    def teacher_network(self) -> nn.Module:
        """The network that labels: the teacher, the other student, or the student if it is its own teacher."""
        if self.peer is not None:
            return self.peer.student
        return self.student if self.teacher is None else self.teacher

    def upsample_teacher(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """:meth:`upsample` for logits of :attr:`teacher_network`, whose head may be another one than the student's."""
        return (self.peer or self).upsample(logits, size)

    def upsample(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Resizes logits as the head does: by its ``fit`` if it has one, else bilinearly with its ``align_corners``.

        Args:
            logits: (N, K, h, w).
            size: (H, W) in pixels.

        Returns:
            (N, K, H, W).
        """
        fit = getattr(self.stages, 'fit', None)
        if fit is not None:
            return fit(logits, size)
        return resize(
            logits,
            size=tuple(size),
            mode='bilinear',
            align_corners=self.align_corners,
            warning=False,
        )


def agreed_num_classes(found: int | None, num_classes: int, key: str) -> int:
    """The student's number of classes, which a config may repeat elsewhere.

    Args:
        found: What the config says at ``key``; None if it says nothing.
        num_classes: K of the student.
        key: Key of the config, named in the error.

    Raises:
        SetupError: The two differ.

    Example:
        >>> agreed_num_classes(None, 21, 'model.mixing'), agreed_num_classes(21, 21, 'model.mixing')
        (21, 21)
    """
    if found not in (None, num_classes):
        raise SetupError(
            f'{key}.num_classes={found}, but the student has {num_classes} classes: remove this key, the number is taken '
            'from model.student.decode_head.num_classes'
        )
    return num_classes


class StudentAndTeacher(BaseSegmentor):
    """A student and a teacher that predict like the plain segmentors they are.

    Args:
        student: Config of an ``EncoderDecoder``. Auxiliary heads without ``num_classes`` take the decode head's.
        teacher: :class:`~mmseg_semi.step.teacher.TeacherRecipe` as a dict, or None.
        test_cfg: Replaces the student's ``test_cfg``, or None.
        data_preprocessor: Config of a ``SemiDataPreprocessor``.
        memory_format: 'channels_last' or 'contiguous', of weights and feature maps; None chooses by device
            (:mod:`mmseg_semi.step.memory_format`).

    State: ``student.*``, and ``teacher.*`` if the teacher has tensors of its own.

    Raises:
        SetupError: A head that cannot serve; unknown keys or values of ``teacher``; an unknown format.
    """

    def __init__(
        self,
        student: dict,
        teacher: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        memory_format: str | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.memory_format = choose_memory_format(memory_format)
        self.student = MODELS.build(complete_auxiliary_heads(student))
        if test_cfg is not None:
            self.student.test_cfg = test_cfg
        two_stage(self.student.decode_head)  # refuses a head that cannot serve, and names it
        self.align_corners = self.student.align_corners
        self.num_classes = self.student.num_classes
        self.out_channels = self.student.out_channels  # read by SegTTAModel
        self.recipe = _read_recipe(teacher)
        self.teacher = build_teacher(self.student, self.recipe) if self.recipe else None
        set_memory_format(self, self.memory_format)
        self._predicting = self.predicting_network

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The plain segmentors that can be evaluated, by name; a student that is its own teacher counts once."""
        networks = {} if self.teacher is None else {'teacher': self.teacher}
        return networks | {'student': self.student}

    @property
    def predicting_network(self) -> str:
        """Name of the network that predicts: 'teacher' if it has weights of its own, else 'student'."""
        return 'teacher' if self.recipe is not None and self.recipe.weights == 'ema' else 'student'

    def network(self, name: str | None = None) -> nn.Module:
        """The plain segmentor 'teacher' or 'student'; default: the one that predicts.

        Raises:
            SetupError: This recipe has no such network.
        """
        name = name or self.predicting_network
        if name not in self.networks:
            raise SetupError(
                f"network '{name}': this model has {list(self.networks)}; choose one of them"
            )
        return self.networks[name]

    @contextmanager
    def predict_with(self, name: str) -> Iterator[None]:
        """Inside the block, predictions come from the network ``name``."""
        self.network(name)
        before, self._predicting = self._predicting, name
        try:
            yield
        finally:
            self._predicting = before

    def train(self, mode: bool = True) -> 'StudentAndTeacher':
        """Sets the mode of everything but the teacher, which follows its recipe in training."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train(mode and self.recipe.mode == 'train')
        return self

    # -- MMSegmentation's interface --------------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor):
        return self.network(self._predicting).extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples: list) -> Tensor:
        return self.network(self._predicting).encode_decode(inputs, batch_data_samples)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        return self.network(self._predicting).predict(inputs, data_samples)

    def _forward(self, inputs: Tensor, data_samples: list | None = None):
        return self.network(self._predicting)._forward(inputs, data_samples)


def _read_recipe(teacher: dict | None) -> TeacherRecipe | None:
    if teacher is None:
        return None
    try:
        return TeacherRecipe(**teacher)
    except TypeError as error:
        raise SetupError(
            f'model.teacher: {error}; its keys are {list(TeacherRecipe.__annotations__)}'
        ) from error


def complete_auxiliary_heads(student: dict) -> dict:
    """A copy of the student's config in which auxiliary heads without ``num_classes`` have the decode head's.

    Example:
        >>> student = dict(decode_head=dict(num_classes=21), auxiliary_head=dict(type='FCNHead'))
        >>> complete_auxiliary_heads(student)['auxiliary_head']
        {'type': 'FCNHead', 'num_classes': 21}
    """
    heads, decode_head = student.get('auxiliary_head'), student.get('decode_head')
    if not heads or not isinstance(decode_head, dict) or 'num_classes' not in decode_head:
        return student
    num_classes = decode_head['num_classes']
    several = isinstance(heads, list | tuple)
    completed = []
    for head in heads if several else [heads]:
        head = copy.copy(head)
        head.setdefault('num_classes', num_classes)
        completed.append(head)
    student = copy.copy(student)
    student['auxiliary_head'] = completed if several else completed[0]
    return student
