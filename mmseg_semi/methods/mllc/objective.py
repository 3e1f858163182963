"""MLLC: multi-level label correction.

H. Xiao, Y. Hong, L. Dong, D. Yan, J. Zhuang, J. Xiong, D. Liang, C. Peng, "Multi-Level Label Correction by Distilling
Proximate Patterns for Semi-supervised Semantic Segmentation", IEEE Trans. Multimedia 26 (2024), arXiv 2404.02065; behaviour
checked against the authors' released training script.

The code follows the paper's figure. On labelled, weak and strong views K rounds of label correction
(:mod:`mmseg_semi.methods.mllc.graphs`) follow the network. The last round's predictions of the weak view are the pseudo-labels
of the strong one. They train the predictions of all rounds (self-distillation). The features of all rounds are pulled to class
prototypes, and the features of a class in an image to each other.

Differences from the released code: its missing prototype class is rewritten (the first features are copied, then a running
mean); every level has a separate prototype bank, where all levels there write to the first one (``banks='shared'`` does);
labels of unlabelled images are never read; counts are integers; thresholds, prototypes and weights are those of all ranks.
"""

import math
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.class_scores import cross_entropy
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc.correction_quality import (
    correction_quality,
    describe_quality,
    log_lines,
)
from mmseg_semi.methods.mllc.graphs import Level, at_nodes, pool_valid
from mmseg_semi.methods.mllc.node_contrast import class_prototype_contrast, pairwise_contrast
from mmseg_semi.methods.mllc.prototypes import PrototypeBank, class_sums
from mmseg_semi.methods.mllc.pseudo_labels import RoundTrainer, TrainedGraphCorrection
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs
from mmseg_semi.step.parts import part
from mmseg_semi.step.views import PseudoLabels, StepViews

OMEGA_MODES = ('threshold_uniform', 'power', 'sigmoid', 'none')
BANKS = ('per_level', 'shared')


@MODELS.register_module()
class MLLCObjective(RoundTrainer):
    """Self-distillation over the rounds of label correction, and two contrasts of their features.

    Works with ``MLLCHead`` and ``MLLCPlusHead``, whose rounds decide K, and with any other head, where K is 0 and there is no
    embedding: then this is ClassMix (arXiv 2007.07936) with a teacher. The pseudo-labels are those of
    ``pseudo_label=dict(type='TrainedGraphCorrection')``; ``SupervisedObjective`` trains level 0 of the labelled images.

    Args:
        weight: A number or a schedule, the factor of all losses below.
        w_sup: Weight of the labelled images' loss at levels 1 to K, each by the head's ``loss_decode``.
        w_clg: Weight of the strong view's cross entropy, summed over levels 0 to K (the released code: 1).
        w_inter: Weight of the contrast with prototypes, summed over all levels (0.1).
        w_intra: Weight of the contrast within an image, on the features of level 1 (0.1; off in the released code).
        omega_mode: How ``w_clg`` grows with confidence c: 'threshold_uniform', times the share of the batch's pixels with
            c >= tau_omega (both released configs); 'power', each pixel times c^6; 'sigmoid', times
            exp(-5 (1 - t / omega_length)^2); 'none'.
        tau_omega: See ``omega_mode``.
        omega_length: See ``omega_mode``; in ``model.iters_per_epoch``.
        inter_start: Time at which the contrast with prototypes starts; prototypes are averaged from the first step on.
        contrast_scale: 1 / temperature of that contrast (10).
        banks: 'per_level', or 'shared' (the released code): one bank, to which the levels write in turn. The terms of
            levels 1 to K, whose banks stay empty, are constants there and left out here.
        bank_momentum: Momentum of the prototypes (0.99).
        name: Prefix in the log.

    State: ``bank``, if ``w_inter`` is not 0; the thresholds are the pseudo-labeller's.

    Raises:
        SetupError: A value out of range; from :meth:`bind`, a head or pseudo-labeller that cannot serve.
    """

    all_needs = Needs(labeled=True, strong=True, teacher=True)

    def __init__(
        self,
        weight: float | dict = 1.0,
        w_sup: float = 1.0,
        w_clg: float = 1.0,
        w_inter: float = 0.1,
        w_intra: float = 0.1,
        omega_mode: str = 'threshold_uniform',
        tau_omega: float = 0.968,
        omega_length: float = 10_000,
        inter_start: float = 2000,
        contrast_scale: float = 10.0,
        banks: str = 'per_level',
        bank_momentum: float = 0.99,
        name: str = 'mllc',
    ) -> None:
        super().__init__(weight, name)
        weights = dict(w_sup=w_sup, w_clg=w_clg, w_inter=w_inter, w_intra=w_intra)
        if min(weights.values()) < 0 or not all(map(math.isfinite, weights.values())):
            raise SetupError(f'{name}: {weights}; expected finite numbers >= 0')
        for key, value, choices in (
            ('omega_mode', omega_mode, OMEGA_MODES),
            ('banks', banks, BANKS),
        ):
            if value not in choices:
                raise SetupError(f"{name}.{key}='{value}': expected one of {choices}")
        if not 0 <= tau_omega <= 1 or omega_length <= 0 or inter_start < 0 or contrast_scale <= 0:
            raise SetupError(
                f'{name}: tau_omega={tau_omega}, omega_length={omega_length}, inter_start={inter_start}, '
                f'contrast_scale={contrast_scale}; expected a probability, a length > 0, a time >= 0 and a scale > 0'
            )
        self.w_sup, self.w_clg, self.w_inter, self.w_intra = w_sup, w_clg, w_inter, w_intra
        self.omega_mode, self.tau_omega, self.omega_length = omega_mode, tau_omega, omega_length
        self.inter_start, self.contrast_scale = inter_start, contrast_scale
        self.shared, self.bank_momentum = banks == 'shared', bank_momentum
        self._kept: list[tuple[Tensor, Tensor]] = []

    def bind(self, networks: Networks) -> None:
        labeller, head = networks.pseudo_label, networks.student.decode_head
        if not isinstance(labeller, TrainedGraphCorrection):
            raise SetupError(
                f"objective '{self.name}' learns the labels that its own rounds correct, but model.pseudo_label is "
                f"{type(labeller).__name__}: use pseudo_label=dict(type='TrainedGraphCorrection')"
            )
        if labeller.gives_weights:
            raise SetupError(
                f"objective '{self.name}' weights pixels by its own omega (omega_mode), but model.pseudo_label.label is "
                f'{type(labeller.label).__name__}, whose weights it would drop: use a labeller without weights, for instance '
                "label=dict(type='ConfidenceThreshold', threshold=0.0)"
            )
        channels = getattr(head, 'embedding_channels', 0)
        if (self.w_inter or self.w_intra) and not channels:
            raise SetupError(
                f"objective '{self.name}' has w_inter={self.w_inter} and w_intra={self.w_intra}, but student.decode_head "
                f"{type(head).__name__} has no embedding: use decode_head=dict(type='MLLCHead', embedding_channels=256, "
                'rounds=2, ...) or set both weights to 0'
            )
        self.rounds = len(getattr(head, 'rounds', ()))
        if self.w_inter:
            count = 1 if self.shared else self.rounds + 1
            self.bank = PrototypeBank(count, networks.num_classes, channels, self.bank_momentum)
        self._networks = networks
        self._labeller, self._head = (labeller,), (head,)

    @property
    def labeller(self) -> TrainedGraphCorrection:
        """The recipe's pseudo-labeller."""
        return self._labeller[0]

    @property
    def head(self) -> nn.Module:
        """The student's decode head."""
        return self._head[0]

    def idle_parameters(self) -> list[nn.Parameter]:
        """The parameters of the embedding and of the rounds."""
        rounds = getattr(self.head, 'rounds', None)
        return self._embedding() + (list(rounds.parameters()) if rounds else [])

    def _embedding(self) -> list[nn.Parameter]:
        return [
            parameter
            for name, parameter in self.head.named_parameters()
            if name.startswith(('embedding_pyramid.', 'conv_embedding.'))
        ]

    # -- the step --------------------------------------------------------------------------------------------------------

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        batch, mixed, student = views.batch, views.teacher.mixed, views.student
        contrast = self.w_inter > 0 and batch.time >= self.inter_start
        with part(f'objective/{self.name}/rounds'):
            levels_l = self.labeller.levels_of(self.head, student.labeled, batch.label_l != IGNORE)
            levels_m = self.labeller.levels_of(
                self.head,
                student.mixed,
                mixed.valid_m,
                last_features=self.rounds in self._levels_read(contrast),
            )
        used = self.labeller.valid_pixels(mixed.valid_m)
        weight = self.omega(mixed.pseudo_m, used, batch.time)
        values = {'loss_clg': self.w_clg * self.distill(levels_m, mixed.pseudo_m, used, weight)}
        if self.omega_mode == 'threshold_uniform':
            values['omega'] = weight
        if self.rounds:
            values['loss_sup'] = self.w_sup * self.supervise(levels_l, batch.samples_l)
        values |= self.contrasts(views, levels_l, levels_m, contrast)
        for parameter in self._unreached(contrast):
            values['loss_clg'] = values['loss_clg'] + 0.0 * parameter.sum()
        if batch.monitor:
            values |= self._metrics(views, levels_l)
        return values

    @torch.no_grad()
    def omega(self, pseudo: PseudoLabels, used: Tensor, time: float) -> Tensor:
        """The weight of the strong view's pixels, which grows with the teacher's confidence.

        Args:
            pseudo: After mixing.
            used: (N, H, W) bool, pixels that take part.
            time: In ``model.iters_per_epoch``.

        Returns:
            0-dim, or (N, H, W) in mode 'power'.
        """
        if self.omega_mode == 'power':
            return pseudo.confidence**6
        if self.omega_mode == 'threshold_uniform':
            confident = (pseudo.confidence >= self.tau_omega) & used
            # of all ranks, as the counts are: one batch has one weight
            counts = self._over_ranks(torch.stack([confident.sum(), used.sum()]))
            return counts[0] / counts[1].clamp(min=1)
        x = min(time / self.omega_length, 1.0) if self.omega_mode == 'sigmoid' else 1.0
        return pseudo.confidence.new_tensor(math.exp(-5 * (1 - x) ** 2))

    @staticmethod
    def _over_ranks(counts: Tensor) -> Tensor:
        all_reduce(counts)
        return counts

    def distill(
        self, levels: list[Level], pseudo: PseudoLabels, used: Tensor, weight: Tensor
    ) -> Tensor:
        """Sum over all levels of the mean over used pixels of weight x cross entropy."""
        labels = pseudo.labels
        total = 0.0
        for level in levels:
            logits = self._upsample(level.logits, labels)
            loss = cross_entropy(logits, labels, IGNORE, 'none')
            total = total + (weight * loss).sum()
        return total / used.sum().clamp(min=1)

    def _upsample(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = self._networks.upsample(logits, labels.shape[1:])
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def supervise(self, levels: list[Level], samples: Sequence) -> Tensor:
        """Sum over levels 1 to K of the head's losses on labelled images."""
        return sum(
            value
            for level in levels[1:]
            for key, value in self.head.loss_by_feat(level.logits, samples).items()
            if 'loss' in key
        )

    def contrasts(
        self, views: StepViews, levels_l: list[Level], levels_m: list[Level], contrast: bool
    ) -> dict[str, Tensor]:
        """Both contrasts, on labelled and strong images; keeps what :meth:`after_step` needs for the prototypes."""
        if not self.w_inter and not self.w_intra:
            return {}
        labels_l = self._at_nodes(views.batch.label_l, levels_l[0])
        labels_m = self._at_nodes(views.teacher.mixed.pseudo_m.labels, levels_m[0])
        pairs = [(levels_l, labels_l), (levels_m, labels_m)]
        values = {}
        if self.w_intra and self.rounds:
            values['loss_intra'] = self.w_intra * sum(
                pairwise_contrast(levels[1].features, labels) for levels, labels in pairs
            )
        if self.w_inter:
            banks = self.bank.counts.shape[0]
            if contrast:
                values['loss_inter'] = self.w_inter * sum(
                    class_prototype_contrast(
                        levels[k].features,
                        labels,
                        self.bank.prototypes[k],
                        self.bank.counts[k] > 0,
                        self.contrast_scale,
                    )
                    for k in range(banks)
                    for levels, labels in pairs
                )
            values['prototypes'] = (self.bank.counts > 0).float().mean()
            self._keep(views, levels_l, labels_l)
        return values

    def _levels_read(self, contrast: bool) -> set[int]:
        """Levels whose features a loss of this step reads."""
        levels = set()
        if contrast:
            levels |= {0} if self.shared else set(range(self.rounds + 1))
        if self.w_intra and self.rounds:
            levels.add(1)
        return levels

    def _unreached(self, contrast: bool) -> list[nn.Parameter]:
        """Parameters on features that no loss of this step reads, so that DistributedDataParallel sees them used."""
        last = max(self._levels_read(contrast), default=-1)  # its features pass all layers up to it
        idle = [] if last >= 0 else self._embedding()
        for k, one in enumerate(getattr(self.head, 'rounds', ()), 1):
            if k > last:
                idle += one.feature_layer.parameters()
        return idle

    def _at_nodes(self, labels: Tensor, level: Level) -> Tensor:
        """Labels (N, H, W) at the nodes of level 0, IGNORE if no pixel of a node's cell takes part."""
        size, aligned = level.features.shape[2:], self._networks.align_corners
        nodes = at_nodes(labels, size, aligned, self.labeller.label_grid)
        return self._mask(nodes, labels != IGNORE, level)

    def _mask(self, nodes: Tensor, valid: Tensor, level: Level) -> Tensor:
        positions = self.labeller.valid_nodes(valid, level.logits.shape[2:])
        positions = pool_valid(positions, self.head.graph_pool)
        return nodes if positions is None else nodes.masked_fill(~positions, IGNORE)

    # -- prototypes ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _keep(self, views: StepViews, levels_l: list[Level], labels_l: Tensor) -> None:
        """Keeps class sums of labelled and weak nodes at every level: bounded, detached."""
        levels_w = views.teacher.levels
        size = levels_w[0].features.shape[2:]
        labels_w = self._networks.upsample(levels_w[-1].logits, size).argmax(dim=1)
        labels_w = self._mask(labels_w, views.batch.unlabeled.valid_u, levels_w[0])
        classes = self._networks.num_classes
        self._kept = []
        for mine, weak in zip(levels_l, levels_w, strict=True):
            sums, counts = class_sums(mine.features.detach(), labels_l, classes)
            more, others = class_sums(weak.features, labels_w, classes)
            self._kept.append((sums + more, counts + others))

    @torch.no_grad()
    def after_step(self, views: StepViews) -> None:
        """Updates the prototypes with the features of before the optimiser's step."""
        kept, self._kept = self._kept, []
        for level, (sums, counts) in enumerate(kept):
            self.bank.update(0 if self.shared else level, sums, counts)

    @torch.no_grad()
    def _metrics(self, views: StepViews, levels: list[Level]) -> dict[str, Tensor]:
        """What correction does to the student's predictions on labelled images; by class as text in the log."""
        truth, networks = views.batch.label_l, self._networks
        predictions = [self._upsample(level.logits, truth).argmax(dim=1) for level in levels]
        quality = correction_quality(predictions, truth, networks.num_classes)
        log_lines(describe_quality(self.name, quality, networks.class_names))
        return quality.values()
