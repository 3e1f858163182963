"""The views that pass between the parts of a training step.

Names follow one grammar, kind_source_view: ``img``/``label``/``pseudo``/``valid``, ``l`` labelled or ``u`` unlabelled,
``w`` weak, ``s`` strong (before mixing) or ``m`` mixed (what the student sees).
"""

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Needs:
    """What one objective asks of a step; the segmentor computes the union over all objectives and nothing else."""

    labeled: bool = False
    """Student rows of the labelled images."""
    strong: bool = False
    """Student rows of the mixed strong view of the unlabelled images, with their pseudo-labels."""
    weak: bool = False
    """Student rows of the weak view of the unlabelled images."""
    weak_features: bool = False
    """The same rows, but of their features alone something is learned: unless another objective asks for ``weak``, stage 2
    of the head runs without a graph, in a call of its own."""
    teacher: bool = False
    """Teacher logits of the recipe's teacher rows."""
    teacher_features: bool = False
    """The teacher's penultimate features of the same rows."""
    projection: bool = False
    """The projection of the student's features (``SemiSegmentor.project``), for all rows of a call."""
    auxiliary_half: bool = False
    """Route the last half of the student's rows through the head's auxiliary norms (DDFP's released warm-up)."""

    @property
    def unlabeled(self) -> bool:
        """Whether unlabelled images are needed at all."""
        return (
            self.strong or self.weak or self.weak_features or self.teacher or self.teacher_features
        )

    def __or__(self, other: 'Needs') -> 'Needs':
        return Needs(
            **{f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)}
        )


@dataclass
class StudentRows:
    """The student's outputs for a run of rows of the batch.

    All tensors carry a graph, but for the logits, and what stage 2 computes beside them, of weak rows of which only
    ``weak_features`` were asked for.
    """

    backbone: tuple[Tensor, ...]
    """Backbone (or neck) outputs, each (N, C_i, h_i, w_i); what auxiliary heads read."""
    fused: Tensor
    """(N, C_f, h, w): output of head stage 1."""
    lifted: Tensor
    """(N, C, h, w): stage 2's first linear layer applied to ``fused``; the same tensor as ``fused`` for heads not ours."""
    features: Tensor
    """(N, C, h, w): penultimate features, the input of the classifier."""
    logits: Tensor
    """(N, K, h, w): class scores at head resolution."""
    embedding: Tensor | None = None
    """(N, D, h, w): the head's own, where it has one."""
    projection: Tensor | None = None
    """(N, D, h, w): what ``SemiSegmentor.project`` makes of ``features``, where an objective asked for it."""


@dataclass
class TeacherRows:
    """The teacher's outputs for a run of rows; no graph."""

    logits: Tensor
    """(N, K, h, w): class scores at head resolution."""
    features: Tensor | None = None
    """(N, C, h, w): penultimate features, where an objective asked for them."""
    embedding: Tensor | None = None
    """(N, D, h, w): the head's projection, where it has one."""
    levels: list | None = None
    """Answers after each round of label correction, from the first on (``mmseg_semi.methods.mllc.graphs.Level``), where the
    pseudo-labeller corrects."""


@dataclass
class PseudoLabels:
    """Labels for unlabelled images."""

    labels: Tensor
    """(N, H, W) int64 in [0, K) or IGNORE (below the threshold, or padding)."""
    confidence: Tensor
    """(N, H, W) float32 in [0, 1]: the teacher's highest class probability; 0 where the pixel is padding."""
    given: Tensor | None = None
    """:attr:`StepViews.given_u`, moved by mixing with the pixels."""


@dataclass
class StepViews:
    """One training step: what came in, what the teacher said, what the student answered."""

    iteration: int
    """The runner's training iteration, from 0."""
    time: float
    """``iteration / iters_per_epoch``: what schedules are evaluated at."""
    generator: torch.Generator
    """CPU generator seeded from (seed, rank, iteration): every draw of the step that is not made on the device."""
    monitor: bool
    """True on the iterations whose log line is printed: quantities for people are computed only then."""
    img_l: Tensor
    """(N_l, 3, H, W): labelled images, weak view, normalised."""
    label_l: Tensor
    """(N_l, H, W) int64 in [0, K) or IGNORE."""
    samples_l: list
    """The labelled images' ``SegDataSample``s, for mmseg's own losses."""
    paths: list[str] = field(default_factory=list)
    """Image files of the step, labelled first."""
    img_u_w: Tensor | None = None
    """(N_u, 3, H, W): unlabelled images, weak view, normalised."""
    img_u_s: Tensor | None = None
    """(N_u, 3, H, W): the same crops with strong colour augmentation."""
    valid_u: Tensor | None = None
    """(N_u, H, W) bool: False where ``img_u_*`` is padding."""
    given_u: Tensor | None = None
    """(N_u, H, W) int64 in [0, K) or IGNORE: labels of uncertain truth that come with unlabelled images, such as masks made
    from image-level labels; IGNORE where an image has none, None where no image of the batch has any."""
    teacher_l: TeacherRows | None = None
    teacher_u: TeacherRows | None = None
    pseudo_u: PseudoLabels | None = None
    """Labels of the unmixed images."""
    img_u_m: Tensor | None = None
    """(N_u, 3, H, W): strong view after mixing; what the student is trained on."""
    valid_m: Tensor | None = None
    """(N_u, H, W) bool: ``valid_u`` after mixing."""
    pseudo_m: PseudoLabels | None = None
    """``pseudo_u`` after mixing."""
    student_l: StudentRows | None = None
    student_w: StudentRows | None = None
    student_m: StudentRows | None = None

    def drop_student_rows(self) -> None:
        """Forgets the student's rows. ``Objective.after_step`` and hooks do without: ``loss`` keeps bounded samples."""
        self.student_l = self.student_w = self.student_m = None
