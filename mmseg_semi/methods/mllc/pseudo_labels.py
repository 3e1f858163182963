"""MLLC's label correction as a pseudo-labeller (arXiv 2404.02065)."""

from collections.abc import Iterable, Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc.class_counts import ClassCountThreshold
from mmseg_semi.methods.mllc.correction_quality import (
    correction_quality,
    describe_quality,
    log_lines,
)
from mmseg_semi.methods.mllc.graphs import (
    GraphRound,
    Level,
    at_nodes,
    pool,
    pool_valid,
    run_rounds,
)
from mmseg_semi.step.networks import Networks, agreed_num_classes
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.parts import part
from mmseg_semi.step.pseudo_labels import PseudoLabeller, check_labeller
from mmseg_semi.step.views import PseudoLabels, StepViews, StudentOutputs, TeacherOutputs

GRIDS = ('aligned', 'nearest')


class RoundTrainer(Objective):
    """Base class of objectives whose losses train the correction rounds of the student's head."""


class _Correction(PseudoLabeller):
    """Base class: corrects the teacher's logits in K rounds over graphs; a subclass says which rounds.

    The thresholds of the rounds follow from counts of confident pixels, of both labelled and unlabelled images.
    """

    needs = Needs(teacher_features=True)

    def __init__(
        self,
        num_classes: int | None = None,
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
        self.thresholds = ClassCountThreshold(num_classes or 0, tau, eta_min, count_momentum)
        self.label = MODELS.build(label or dict(type='ConfidenceThreshold', threshold=0.0))
        check_labeller(self.label, 'model.pseudo_label.label')
        self.gives_weights = self.label.gives_weights
        self.pad_mask = pad_mask
        self.label_grid = label_grid
        self._trainers: tuple[RoundTrainer, ...] = ()

    def bind(self, networks: Networks, objectives: Iterable[Objective] = ()) -> None:
        """Takes the number of classes and the networks."""
        self._networks = networks
        if self.num_classes is None:
            self.thresholds.resize(networks.num_classes)
        self.num_classes = agreed_num_classes(
            self.num_classes, networks.num_classes, 'model.pseudo_label'
        )
        self.label.bind(networks, objectives)

    def valid_pixels(self, valid: Tensor) -> Tensor:
        """(N, H, W) bool: which pixels take part at all."""
        return valid if self.pad_mask else torch.ones_like(valid)

    def valid_nodes(self, valid: Tensor, size: Sequence[int]) -> Tensor | None:
        """(N, h, w) bool, which positions of a map of that size take part; None means all of them."""
        if not self.pad_mask:
            return None
        return at_nodes(valid, size, self._networks.align_corners, self.label_grid)

    def levels(self, outputs: TeacherOutputs, valid: Tensor) -> list[Level]:
        """Outputs before correction (level 0) and after each of the K rounds.

        Args:
            outputs: The teacher's, for N images.
            valid: (N, H, W) bool, False where the pixel is padding or ignored.
        """
        raise NotImplementedError

    def corrected(self, outputs: TeacherOutputs, levels: list[Level]) -> list[Tensor]:
        """The logits of all levels; their resolutions may differ."""
        return [level.logits for level in levels]

    def correct(self, outputs: TeacherOutputs, valid: Tensor) -> tuple[Tensor, list[Level]]:
        """Corrected logits of the unlabelled weak views, (N, K, h, w), and the levels."""
        with part('correction'):
            levels = self.levels(outputs, valid)
            return self.corrected(outputs, levels)[-1], levels

    def forward(self, logits: Tensor, valid: Tensor, time: float) -> PseudoLabels:
        """Labels of corrected logits (N, K, H, W), by ``label``."""
        return self.label(logits, self.valid_pixels(valid), time)

    @torch.no_grad()
    def count(self, views: StepViews) -> None:
        """Counts the confident pixels of the step: unlabelled ones from the teacher's logits, labelled ones from the
        student's if an objective trains the rounds now, else from the teacher's."""
        batch = views.batch
        self.label.count(views)
        self._count(views.teacher.weak.logits, batch.unlabeled.valid_u)
        outputs: TeacherOutputs | StudentOutputs | None = views.teacher.labeled
        if self._trainers:
            trained = any(trainer.weight(batch.time) > 0 for trainer in self._trainers)
            outputs = views.student.labeled if trained else None
        if outputs is not None:
            self._count(outputs.logits, batch.label_l != IGNORE)

    def _count(self, logits: Tensor, valid: Tensor) -> None:
        logits = self._networks.upsample(logits.detach(), valid.shape[1:])
        self.thresholds.observe(logits, self.valid_pixels(valid))

    @torch.no_grad()
    def metrics(self, views: StepViews) -> dict[str, Tensor]:
        """The mean threshold, and what correction does to the teacher's predictions on labelled images; those of ``label``
        with this prefix."""
        values = {f'label_{key}': value for key, value in self.label.metrics(views).items()}
        values['threshold'] = self.thresholds().mean().float()
        if views.teacher.labeled is None or self._trainers:  # a trainer logs the student's
            return values
        truth = views.batch.label_l
        levels = self.levels(views.teacher.labeled, truth != IGNORE)
        predictions = [
            self._networks.upsample(logits, truth.shape[1:]).argmax(dim=1)
            for logits in self.corrected(views.teacher.labeled, levels)
        ]
        quality = correction_quality(predictions, truth, self.num_classes)
        log_lines(describe_quality('pseudo', quality, self._networks.class_names))
        return values | quality.values()

    def after_step(self) -> None:
        """Adds the step's counts, over all ranks."""
        self.thresholds.step()
        self.label.after_step()


@MODELS.register_module()
class GraphCorrection(_Correction):
    """Corrects pseudo-labels in K rounds without trained layers, for any recipe with pseudo-labels (FixMatch, DDFP).

    The semantic-level graph is that of the teacher's features: the head's embedding if it has one, else the penultimate
    features. If they are finer than ``stride``, logits and features are averaged to it, and the change that the rounds make
    is upsampled and added to the logits.

    Args:
        num_classes: K; None takes the student's number.
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

    Example:
        >>> from types import SimpleNamespace
        >>> labeller = GraphCorrection(rounds=2, graph=dict(top_k=5))
        >>> labeller.bind(Networks(SimpleNamespace(num_classes=3, align_corners=True)))
        >>> outputs = TeacherOutputs(torch.randn(1, 3, 8, 8), torch.randn(1, 16, 8, 8))
        >>> logits, levels = labeller.correct(outputs, torch.ones(1, 64, 64, dtype=torch.bool))
        >>> logits.shape, len(levels)
        (torch.Size([1, 3, 8, 8]), 3)
    """

    def __init__(
        self,
        num_classes: int | None = None,
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
    def levels(self, outputs: TeacherOutputs, valid: Tensor) -> list[Level]:
        """See the base class."""
        features = outputs.features if outputs.embedding is None else outputs.embedding
        maps, nodes = [], None
        for values in (
            outputs.logits,
            features,
        ):  # the logits of some heads are finer than their features
            cells = max(1, self.stride * values.shape[3] // valid.shape[2])
            own = self.valid_nodes(valid, values.shape[2:])
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

    def corrected(self, outputs: TeacherOutputs, levels: list[Level]) -> list[Tensor]:
        """The teacher's logits, plus the change of the rounds at their resolution."""
        start, size = levels[0].logits, outputs.logits.shape[2:]
        if start.shape[2:] == size:
            return [level.logits for level in levels]
        resize = nn.functional.interpolate
        return [outputs.logits] + [
            outputs.logits + resize(level.logits - start, size, mode='bilinear', align_corners=True)
            for level in levels[1:]
        ]


@MODELS.register_module()
class TrainedGraphCorrection(_Correction):
    """Corrects pseudo-labels by the rounds of the teacher's head, whose layers are trained: ``MLLCHead``, ``MLLCPlusHead``.

    With a head that has no rounds it corrects nothing (K = 0).

    Args:
        num_classes: K; None takes the student's number.
        label: Config of the pseudo-labeller of the corrected logits; default: every pixel, as in MLLC.
        tau, eta_min, count_momentum: See :class:`~mmseg_semi.methods.mllc.class_counts.ClassCountThreshold`.
        pad_mask: Keep ignored pixels and padding out of graphs, counts and weights. Off in the released code.
        label_grid: 'aligned' or 'nearest' (the released code), where nodes stand.

    State: ``thresholds.counts``.

    Raises:
        SetupError: A value out of range; from :meth:`bind`, rounds that no objective trains.

    Example:
        >>> labeller = TrainedGraphCorrection()
        >>> pseudo = labeller(torch.randn(1, 3, 4, 4), torch.ones(1, 4, 4).bool(), time=0)
        >>> pseudo.labels.shape, pseudo.labels.max().item() < 3
        (torch.Size([1, 4, 4]), True)
    """

    needs = Needs()

    def bind(self, networks: Networks, objectives: Iterable[Objective] = ()) -> None:
        """Finds the objectives that train the rounds.

        Raises:
            SetupError: The head has rounds that no objective trains.
        """
        super().bind(networks, objectives)
        self._trainers = tuple(o for o in objectives if isinstance(o, RoundTrainer))
        if len(getattr(networks.student.decode_head, 'rounds', ())) and not self._trainers:
            raise SetupError(
                "model.pseudo_label is TrainedGraphCorrection, but no objective trains the head's rounds: add "
                "dict(type='MLLCObjective') to model.objectives, or correct without trained layers by "
                "pseudo_label=dict(type='GraphCorrection')"
            )

    def levels(self, outputs: TeacherOutputs, valid: Tensor) -> list[Level]:
        """Levels of the teacher's outputs, by the teacher's head."""
        return self.levels_of(self._networks.teacher_network.decode_head, outputs, valid)

    def levels_of(
        self,
        head: nn.Module,
        outputs: TeacherOutputs | StudentOutputs,
        valid: Tensor,
        last_features: bool = True,
    ) -> list[Level]:
        """Levels 0..K of a network's outputs, by the rounds of its head.

        Args:
            head: The head that gave the outputs.
            outputs: Its ``logits`` and ``embedding`` are read.
            valid: (N, H, W) bool, False where the pixel is padding or ignored.
            last_features: Whether the last level's features are needed.
        """
        if not hasattr(head, 'levels'):
            return [Level(outputs.logits, outputs.embedding)]
        own = self.valid_nodes(valid, outputs.logits.shape[2:])
        return head.levels(outputs.logits, outputs.embedding, self.thresholds(), own, last_features)
