"""MLLC's label correction as a pseudo-labeller (arXiv 2404.02065)."""

import torch
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc.class_counts import ClassCountThreshold
from mmseg_semi.methods.mllc.correction_quality import correction_quality, describe_quality
from mmseg_semi.methods.mllc.graphs import (
    GraphRound,
    Level,
    at_nodes,
    pool,
    pool_valid,
    run_rounds,
)
from mmseg_semi.step.views import Needs, PseudoLabels, StepViews, TeacherRows

GRIDS = ('aligned', 'nearest')


class _Correction(nn.Module):
    """Base: what the teacher says of the weak views passes K rounds over graphs; what remains of a subclass is which.

    The segmentor calls :meth:`correct` with the teacher's rows, then ``forward`` with what it returned, upsampled; after
    the optimiser's step :meth:`after_step`.
    """

    needs = Needs(teacher_features=True)

    def __init__(
        self,
        num_classes: int,
        label: dict | None = None,
        tau: float = 0.95,
        eta_min: float = 0.0,
        count_momentum: float | None = None,
        pad_mask: bool = True,
        label_grid: str = 'aligned',
    ) -> None:
        super().__init__()
        if label_grid not in GRIDS:
            raise SetupError(f"pseudo_label.label_grid='{label_grid}': expected one of {GRIDS}")
        self.num_classes = num_classes
        self.thresholds = ClassCountThreshold(num_classes, tau, eta_min, count_momentum)
        self.label = MODELS.build(label or dict(type='ConfidenceThreshold', threshold=0.0))
        self.pad_mask = pad_mask
        self.label_grid = label_grid
        self.counts_labeled = True
        """Whether labelled pixels are counted here, from the teacher's rows; an objective may count the student's."""

    def valid_pixels(self, valid: Tensor) -> Tensor:
        """(N, H, W) bool: which pixels take part at all."""
        return valid if self.pad_mask else torch.ones_like(valid)

    def valid_nodes(self, valid: Tensor, size, align_corners: bool) -> Tensor | None:
        """(N, h, w) bool, which positions of a map of that size take part, or None: all."""
        if not self.pad_mask:
            return None
        return at_nodes(valid, size, align_corners, self.label_grid)

    def levels(self, rows: TeacherRows, valid: Tensor, segmentor: nn.Module) -> list[Level]:
        """Levels 0..K of rows whose pixels ``valid`` (N, H, W) are no padding."""
        raise NotImplementedError

    def corrected(self, rows: TeacherRows, levels: list[Level]) -> list[Tensor]:
        """The logits of all levels, each at a resolution of its own."""
        return [level.logits for level in levels]

    def correct(self, views: StepViews, segmentor: nn.Module) -> Tensor:
        """Corrected logits of the unlabelled weak views, (N, K, h, w); counts their sure pixels."""
        rows, valid = views.teacher_u, views.valid_u
        levels = self.levels(rows, valid, segmentor)
        rows.levels = levels
        self.observe(rows.logits, valid, segmentor)
        if views.teacher_l is not None and self.counts_labeled:
            self.observe(views.teacher_l.logits, views.label_l != IGNORE, segmentor)
        return self.corrected(rows, levels)[-1]

    def observe(self, logits: Tensor, valid: Tensor, segmentor: nn.Module) -> None:
        """Counts the sure pixels of a level-0 answer; they count from the next step on."""
        logits = segmentor.upsample(logits, valid.shape[1:])
        self.thresholds.observe(logits, self.valid_pixels(valid))

    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """Labels of corrected logits (N, K, H, W), by ``label``."""
        return self.label(logits, self.valid_pixels(valid), time)

    @torch.no_grad()
    def watch(self, views: StepViews, segmentor: nn.Module) -> dict[str, Tensor]:
        """Values for people: what correction does to the teacher's answers on labelled images."""
        values = {'threshold': self.thresholds().mean().float()}
        if views.teacher_l is None or not self.counts_labeled:
            return values
        valid = views.label_l != IGNORE
        levels = self.levels(views.teacher_l, valid, segmentor)
        answers = [
            segmentor.upsample(logits, valid.shape[1:]).argmax(dim=1)
            for logits in self.corrected(views.teacher_l, levels)
        ]
        quality = correction_quality(answers, views.label_l, self.num_classes)
        self.tell(describe_quality('pseudo', quality, segmentor.classes))
        return values | quality.values()

    @staticmethod
    def tell(text: str) -> None:
        """Lines in the run's log."""
        for line in text.splitlines():
            print_log(line, 'current')

    def after_step(self) -> None:
        """Adds the step's counts, over all ranks."""
        self.thresholds.step()


@MODELS.register_module()
class GraphCorrection(_Correction):
    """K rounds of label correction without trained layers, for any recipe with pseudo-labels (FixMatch, DDFP).

    The semantic-level graph is that of the teacher's features: the head's embedding where it has one, else the penultimate
    features. Where they are finer than ``stride``, logits and features are averaged to it, and what the rounds change is
    upsampled and added to the logits.

    Args:
        num_classes: K, the segmentor's number of classes.
        rounds: Number of rounds.
        stride: Pixels between nodes: maps are averaged over whole cells as long as they stay this fine.
        graph: Keyword arguments of :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
        label: Config of the pseudo-labeller of the corrected logits; default: every pixel.
        tau, eta_min, count_momentum: See :class:`~mmseg_semi.methods.mllc.class_counts.ClassCountThreshold`.
        pad_mask: Keep padding out of graphs and counts.
        label_grid: 'aligned' or 'nearest', where nodes stand, see :func:`~mmseg_semi.methods.mllc.graphs.at_nodes`.

    State: ``thresholds.counts``.

    Raises:
        SetupError: A value out of range.
    """

    def __init__(
        self,
        num_classes: int,
        rounds: int = 2,
        stride: int = 8,
        graph: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        if rounds < 0 or stride < 1:
            raise SetupError(
                f'pseudo_label: rounds={rounds}, stride={stride}; expected rounds >= 0 and stride >= 1'
            )
        self.rounds = nn.ModuleList(GraphRound(**(graph or {})) for _ in range(rounds))
        self.stride = stride

    @torch.no_grad()
    def levels(self, rows: TeacherRows, valid: Tensor, segmentor: nn.Module) -> list[Level]:
        features = rows.features if rows.embedding is None else rows.embedding
        maps, nodes = [], None
        for values in (rows.logits, features):  # some heads answer finer than their features
            cells = max(1, self.stride * values.shape[3] // valid.shape[2])
            own = self.valid_nodes(valid, values.shape[2:], segmentor.align_corners)
            maps.append(pool(values, cells, own))
            nodes = pool_valid(own, cells) if nodes is None else nodes
        logits, features = maps
        if logits.shape[2:] != features.shape[2:]:
            raise SetupError(
                f'pseudo_label.stride={self.stride}: {tuple(logits.shape[2:])} nodes have logits, '
                f'{tuple(features.shape[2:])} have features; give the coarser stride of the two'
            )
        first = Level(logits, features)
        return run_rounds(self.rounds, first, self.thresholds(), nodes, last_features=False)

    def corrected(self, rows: TeacherRows, levels: list[Level]) -> list[Tensor]:
        start, size = levels[0].logits, rows.logits.shape[2:]
        if start.shape[2:] == size:
            return [level.logits for level in levels]
        resize = nn.functional.interpolate
        return [rows.logits] + [
            rows.logits + resize(level.logits - start, size, mode='bilinear', align_corners=True)
            for level in levels[1:]
        ]


@MODELS.register_module()
class TrainedGraphCorrection(_Correction):
    """Correction by the rounds of the teacher's own head, with their trained layers: ``MLLCHead`` or ``MLLCPlusHead``.

    With a head that has no rounds, nothing is corrected (K = 0).

    Args:
        num_classes: K, the segmentor's number of classes.
        label: Config of the pseudo-labeller of the corrected logits; default: every pixel, as in MLLC.
        tau, eta_min, count_momentum: See :class:`~mmseg_semi.methods.mllc.class_counts.ClassCountThreshold`.
        pad_mask: Keep void and padding out of graphs, counts and weights. Off in the released code.
        label_grid: 'aligned' or 'nearest' (the released code), where nodes stand.

    State: ``thresholds.counts``.

    Raises:
        SetupError: A value out of range.
    """

    needs = Needs()
    trained_by: str | None = None
    """Name of the objective that trains the rounds; it says so itself."""

    def check(self, segmentor: nn.Module) -> None:
        """
        Raises:
            SetupError: The head has rounds that no objective trains.
        """
        if len(getattr(segmentor.student.decode_head, 'rounds', ())) and self.trained_by is None:
            raise SetupError(
                "model.pseudo_label is TrainedGraphCorrection, but no objective trains the head's rounds: add "
                "dict(type='MLLCObjective') to model.objectives, or correct without trained layers by "
                f"pseudo_label=dict(type='GraphCorrection', num_classes={self.num_classes})"
            )

    def levels(self, rows, valid: Tensor, segmentor: nn.Module) -> list[Level]:
        """Levels of teacher's or student's rows, by the head that gave them."""
        return self.levels_of(segmentor.teacher_network.decode_head, rows, valid, segmentor)

    def levels_of(
        self, head: nn.Module, rows, valid: Tensor, segmentor: nn.Module, last_features: bool = True
    ) -> list[Level]:
        """Levels 0..K of rows with ``logits`` and ``embedding``, by ``head``."""
        if not hasattr(head, 'levels'):
            return [Level(rows.logits, rows.embedding)]
        own = self.valid_nodes(valid, rows.logits.shape[2:], segmentor.align_corners)
        return head.levels(rows.logits, rows.embedding, self.thresholds(), own, last_features)
