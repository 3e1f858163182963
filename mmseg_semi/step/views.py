"""What a training step hands to its objectives: the batch, the teacher's part and the student's outputs.

Each object is complete when it is made, and nothing is written into it afterwards. The names of tensors follow one
grammar, kind_source_view: ``img``/``label``/``pseudo``/``valid``/``noisy``, ``l`` labelled or ``u`` unlabelled, ``w`` weak,
``s`` strong (before mixing) or ``m`` mixed (what the student sees).

Views have names. Of the images of a batch 'weak' and 'strong' are two, 'strong_2', 'strong_3' and so on further strong
ones, each with colours and a mixing of its own. ``model.feature_views`` may add views of features, which it names. An
objective says by name which view it learns from, and reads it by ``TeacherViews.labels_of`` and ``StudentViews.of``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mmseg_semi.errors import SetupError

STRONG = 'strong'
"""Name of the first strong view."""


def is_strong(view: str) -> bool:
    """Whether a name is that of a strong view of images.

    Example:
        >>> [is_strong(view) for view in ('strong', 'strong_2', 'strong_1', 'weak')]
        [True, True, False, False]
    """
    return re.fullmatch(r'strong(_([2-9]|[1-9]\d+))?', view) is not None


# eq=False: tensors have no truth value, so two views cannot be compared by their fields.


@dataclass(frozen=True, eq=False)
class UnlabeledBatch:
    """The unlabelled images of a batch."""

    img_u_w: Tensor
    """(N_u, 3, H, W): weak view, normalised."""
    img_u_s: Tensor
    """(N_u, 3, H, W): the same crops with strong colour augmentation."""
    valid_u: Tensor
    """(N_u, H, W) bool: False where both views are padding."""
    noisy_u: Tensor | None = None
    """(N_u, H, W) int64 in [0, K) or IGNORE: noisy labels that come with unlabelled images, such as masks made from
    image-level labels. IGNORE where an image has none; None if no image of the batch has any."""
    more_u_s: Mapping[str, Tensor] = field(default_factory=dict)
    """Further strong views by name, each (N_u, 3, H, W)."""

    def image(self, view: str) -> Tensor:
        """(N_u, 3, H, W): the images of a view, strong ones before mixing.

        Raises:
            SetupError: The batch has no such view.
        """
        images = {'weak': self.img_u_w, STRONG: self.img_u_s, **self.more_u_s}
        if view not in images:
            raise SetupError(
                f"an objective learns from the view '{view}', but the batch has {list(images)}: name it in branch_field of "
                'every MultiBranch and give it a pipeline in those of unlabelled images, as to_two_strong of '
                'configs/_base_/datasets/semi.py does'
            )
        return images[view]


@dataclass(frozen=True, eq=False)
class Batch:
    """What the data loader and the iteration give: images, labels, time and randomness."""

    img_l: Tensor
    """(N_l, 3, H, W): labelled images, weak view, normalised."""
    label_l: Tensor
    """(N_l, H, W) int64 in [0, K) or IGNORE."""
    unlabeled: UnlabeledBatch | None = None
    """The unlabelled images, None if the batch has none."""
    samples_l: Sequence = ()
    """The labelled images' ``SegDataSample``s, which MMSegmentation's own losses read."""
    iteration: int = 0
    """The runner's training iteration, from 0."""
    time: float = 0.0
    """``iteration / iters_per_epoch``, at which schedules are evaluated."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """CPU generator seeded from (seed, rank, iteration), for every draw of the step that is not made on the device."""
    monitor: bool = False
    """True on the iterations whose log line is printed: costly metrics for logging are computed only then."""
    paths: Sequence[str] = ()
    """Image files of the step, labelled ones first."""


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """The teacher's outputs for some images of the batch; no graph."""

    logits: Tensor
    """(N, K, h, w): class scores at the head's resolution."""
    features: Tensor | None = None
    """(N, C, h, w): penultimate features, if an objective or the pseudo-labeller asked for them."""
    embedding: Tensor | None = None
    """(N, D, h, w): the head's embedding, if it has one."""


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Pseudo-labels of unlabelled images."""

    labels: Tensor
    """(N, H, W) int64 in [0, K) or IGNORE (below the threshold, or padding)."""
    confidence: Tensor
    """(N, H, W) float32 in [0, 1]: the teacher's highest class probability; 0 in padding."""
    noisy: Tensor | None = None
    """(N, H, W): :attr:`UnlabeledBatch.noisy_u`, which mixing moves with the pixels."""
    weight: Tensor | None = None
    """(N, H, W) float32 in [0, 1]: the weight of each pixel's loss, which mixing moves with the pixels; None: 1 everywhere."""


@dataclass(frozen=True, eq=False)
class MixedView:
    """The strong view after mixing, which the student is trained on; without a mixing, the strong view itself."""

    img_u_m: Tensor
    """(N_u, 3, H, W)."""
    pseudo_m: PseudoLabels
    """The pseudo-labels, mixed as the images are."""
    valid_m: Tensor
    """(N_u, H, W) bool: ``valid_u``, mixed as the images are."""


@dataclass(frozen=True, eq=False)
class TeacherViews:
    """The teacher's part of a step."""

    weak: TeacherOutputs
    """Of the weak view of the unlabelled images."""
    labeled: TeacherOutputs | None = None
    """Of the labelled images, if ``model.teacher.rows`` includes them."""
    pseudo_u: PseudoLabels | None = None
    """Pseudo-labels of the images before mixing, if an objective asked for a view that learns them."""
    levels: Sequence[Any] | None = None
    """Outputs for the weak view before label correction and after each round of it
    (``mmseg_semi.methods.mllc.graphs.Level``), if the pseudo-labeller corrects."""
    mixed: MixedView | None = None
    """The view 'strong' after mixing, if an objective asked for it."""
    more: Mapping[str, MixedView] = field(default_factory=dict)
    """Further strong views after mixing, and the images and labels of feature views, by name."""

    def labels_of(self, view: str) -> MixedView:
        """Images, pseudo-labels and validity of a view that objectives asked for."""
        return self.mixed if view == STRONG else self.more[view]


@dataclass(frozen=True, eq=False)
class StudentOutputs:
    """The student's outputs for one segment of the batch: its labelled, mixed or weak images.

    All tensors carry a graph, with one exception: if objectives asked for ``weak_features`` only, the logits of the weak
    segment, and what else stage 2 of the head computes, carry none.
    """

    backbone: tuple[Tensor, ...]
    """Outputs of the backbone (or neck), each (N, C_i, h_i, w_i); auxiliary heads read them."""
    fused: Tensor
    """(N, C_f, h, w): output of head stage 1."""
    lifted: Tensor
    """(N, C, h, w): ``fused`` after the first linear layer of stage 2; the same tensor as ``fused`` for heads of
    MMSegmentation."""
    features: Tensor
    """(N, C, h, w): penultimate features, the input of the classifier."""
    logits: Tensor
    """(N, K, h, w): class scores at the head's resolution."""
    embedding: Tensor | None = None
    """(N, D, h, w): the head's embedding, if it has one."""
    projection: Tensor | None = None
    """(N, D, h, w): ``features`` after the projection that an objective declares (``Objective.get_projection``), if an
    objective asked for it."""


@dataclass(frozen=True, eq=False)
class StudentViews:
    """The student's outputs by segment; a segment that no objective asked for is None."""

    labeled: StudentOutputs | None = None
    mixed: StudentOutputs | None = None
    """For the view 'strong' after mixing."""
    weak: StudentOutputs | None = None
    more: Mapping[str, StudentOutputs] = field(default_factory=dict)
    """For further strong views after mixing and for feature views, by name."""

    def of(self, view: str) -> StudentOutputs:
        """The outputs for a view of unlabelled images that objectives asked for, by its name."""
        return {'weak': self.weak, STRONG: self.mixed, **self.more}[view]


@dataclass(frozen=True, eq=False)
class StepViews:
    """One training step."""

    batch: Batch
    teacher: TeacherViews | None = None
    """None if no objective asked for the teacher."""
    student: StudentViews | None = None
    """None after the losses are summed: ``Objective.after_step`` and hooks do without."""

    def without_student(self) -> 'StepViews':
        """The same step without the student's outputs, whose graph the backward pass frees while it runs."""
        return replace(self, student=None)
