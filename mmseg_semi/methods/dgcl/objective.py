"""DGCL: density-guided contrastive learning.

X. Wang, B. Zhang, L. Yu, J. Xiao, "Hunting Sparsity: Density-Guided Contrastive Learning for Semi-Supervised Semantic
Segmentation", CVPR 2023, pp. 3114-3123; behaviour checked against github.com/Gavinwxy/DGCL (1f3ea3f).

The code follows the paper's figure. Every class has a memory bank of recent features and their projections. The density of
a feature is its mean similarity to its nearest neighbours in the bank of its class. The loss pulls the sparsest features of
the batch to the centre of the densest ones, and pushes them away from features of other classes.

Differences from the released code: the loss is divided by the number of ranks once, not twice (``weight``); an argument
names the classes that are never anchors, which is class 0 there for all data; a class without negatives is skipped; new rows
of a bank are drawn from the pixels of all ranks before they are sent, so that banks are equal on all ranks; features are
L2-normalised in the bank; quantiles of an empty set, and batches without a label, give a zero loss instead of an error.
"""

from collections.abc import Callable, Sequence

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl.class_bank import ClassBank
from mmseg_semi.methods.dgcl.class_order import ClassOrder, order_by_class
from mmseg_semi.methods.dgcl.class_tables import (
    at_size,
    draw_others,
    draw_over_ranks,
    extreme_values,
    extremes,
    take,
)
from mmseg_semi.methods.dgcl.head import Projection
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective, share
from mmseg_semi.step.parts import part
from mmseg_semi.step.pixels import nearest, rows_of
from mmseg_semi.step.pseudo_labels import build_percentage, most_certain
from mmseg_semi.step.views import StepViews

GATES = ('per_class', 'all')


@MODELS.register_module()
class DGCLObjective(Objective):
    """Contrasts each class's sparsest features with the centre of its densest ones.

    Works with ``DGCLHead(projection=True)``, whose projection it uses, and with any other head, for whose penultimate
    features it has a projection.

    Args:
        weight: A number or a schedule; 0 until banks and loss begin (VOC: from the second epoch). The authors' files say
            0.5; on W ranks their code divides by W once more, so their runs had 0.125 on VOC and 0.0625 on Cityscapes.
        uncertain: Percentage of the unlabelled pixels at the features' resolution that get no class, those of the highest
            entropy; a number or a schedule (80 falling to 10).
        contrast: Config of the loss.
        anchors: Number of a class's sparsest features that are moved (200).
        positives: Number of the batch's densest features in a class's centre (50).
        bank_positives: Number of the bank's densest features in it (50).
        negatives: Features of other classes that a class's anchors are pushed away from (512).
        max_density_queries: Features of a class that are ranked, a uniform sample (10,000).
        bank_size: Rows of a class's bank M (10,000).
        bank_dtype: 'float32' or 'bfloat16'.
        scales: Numbers of neighbours, averaged over (8, 16, 32).
        rows_per_step: Maximal number of new rows of a class a step, over all ranks (1,000).
        density_after: New rows get a density once a bank has this many rows (1,000).
        excluded_classes: Classes that have a bank and are negatives, but never anchors (VOC: 0, the background).
        gate: 'per_class': a class has anchors once its bank is full; or 'all': no class has before all banks are full
            (released code), where one class that never fills its bank keeps the loss at 0 for ever.
        projection_channels: Width of the projection if the head has none.
        name: Prefix in the log.

    State: ``bank`` (contents, densities, fill); ``projection``, if the head has none, trained with the student.

    Raises:
        SetupError: A value out of range.
    """

    all_needs = Needs(labeled=True, weak=True, teacher=True, projection=True)

    def __init__(
        self,
        weight: float | dict = 0.5,
        uncertain: float | dict = 10.0,
        contrast: dict | None = None,
        anchors: int = 200,
        positives: int = 50,
        bank_positives: int = 50,
        negatives: int = 512,
        max_density_queries: int = 10_000,
        bank_size: int = 10_000,
        bank_dtype: str = 'float32',
        scales: Sequence[int] = (8, 16, 32),
        rows_per_step: int = 1000,
        density_after: int = 1000,
        excluded_classes: Sequence[int] = (),
        gate: str = 'per_class',
        projection_channels: int = 256,
        name: str = 'dgcl',
    ) -> None:
        super().__init__(weight, name)
        counts = dict(
            anchors=anchors,
            positives=positives,
            bank_positives=bank_positives,
            negatives=negatives,
            max_density_queries=max_density_queries,
            rows_per_step=rows_per_step,
            projection_channels=projection_channels,
        )
        if min(counts.values()) < 1:
            raise SetupError(f'{name}: {counts}; expected numbers >= 1')
        if rows_per_step > bank_size:
            raise SetupError(
                f'{name}: rows_per_step={rows_per_step}, bank_size={bank_size}; expected no more new rows than a bank holds'
            )
        if gate not in GATES:
            raise SetupError(f"{name}.gate='{gate}': expected one of {GATES}")
        self.uncertain = build_percentage(uncertain, f'{name}.uncertain')
        self.contrast = MODELS.build(contrast or dict(type='PrototypeContrastLoss'))
        self.anchors, self.positives, self.bank_positives = anchors, positives, bank_positives
        self.negatives, self.max_density_queries = negatives, max_density_queries
        self.rows_per_step = rows_per_step
        self.bank_options = dict(
            size=bank_size, dtype=bank_dtype, scales=scales, density_after=density_after
        )
        self.excluded_classes = sorted(set(excluded_classes))
        self.gate = gate
        self.projection_channels = projection_channels
        self._kept: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self._reported: list[int] | None = None

    def bind(self, networks: Networks) -> None:
        head, classes = networks.student.decode_head, networks.num_classes
        wrong = [c for c in self.excluded_classes if c not in range(classes)]
        if wrong or len(self.excluded_classes) == classes:
            raise SetupError(
                f'{self.name}.excluded_classes={self.excluded_classes} with {classes} classes; expected some of '
                f'0 to {classes - 1}'
            )
        projection = getattr(head, 'projection', None)
        if projection is None:
            self.projection = projection = Projection(
                head.conv_seg.in_channels, self.projection_channels, head.norm_cfg
            )
        self._projection = (projection,)
        self.bank = ClassBank(
            classes,
            channels=head.conv_seg.in_channels,
            embedding_channels=projection.out_channels,
            **self.bank_options,
        )
        anchored = [c for c in range(classes) if c not in self.excluded_classes]
        self.register_buffer('anchored', torch.tensor(anchored), persistent=False)

    def get_projection(self) -> nn.Module:
        """The head's projection, or this objective's."""
        return self._projection[0]

    def idle_parameters(self) -> list[nn.Parameter]:
        return list(self.get_projection().parameters())

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        labels = self.label_map(views)
        pixels = order_by_class(labels, len(self.bank.counts))
        labeled, weak = views.student.labeled, views.student.weak
        features = rows_of(labeled.features.detach(), weak.features.detach())
        embeddings = rows_of(labeled.projection, weak.projection)
        fixed = rows_of(labeled.projection.detach(), weak.projection.detach())
        self._keep_rows(pixels, features, fixed)

        others, other_counts = self.draw_negatives(views, labels, fixed)
        places, counts = pixels.first(self.max_density_queries)
        table = pixels.order[places[self.anchored]]  # C x Q
        used = self.ready()[self.anchored] & (other_counts > 0)
        counts = counts[self.anchored] * used
        with part(f'objective/{self.name}/density'):
            density = self.bank.density(features, table, counts, len(labels), self.anchored)

        sparse, sparse_counts = extremes(density, counts, self.anchors, largest=False)
        dense, dense_counts = extremes(density, counts, self.positives, largest=True)
        sparse, dense = table.gather(1, sparse), table.gather(1, dense)
        prototypes = self.prototypes(take(fixed, dense), dense_counts)
        loss = self.contrast(
            take(embeddings, sparse), prototypes, others, sparse_counts, other_counts
        )
        values = {
            'loss': loss,
            'fill': self.bank.counts.float().mean() / self.bank.size,
            'full': self.bank.full.sum().float(),
            'classes': (counts > 0).sum().float(),
        }
        if views.batch.monitor:
            values |= self._metrics(views, density, counts, sparse, sparse_counts)
        return values

    # -- the steps of the figure -------------------------------------------------------------------

    @torch.no_grad()
    def label_map(self, views: StepViews) -> Tensor:
        """Class of every pixel of the labelled and the weak feature maps, (P,) int64, IGNORE for pixels without one.

        Labelled pixels have their label. Unlabelled ones have the teacher's prediction, except the ``uncertain`` percent
        whose entropy at this resolution is highest.
        """
        batch, size = views.batch, views.student.labeled.features.shape[2:]
        logits = at_size(views.teacher.weak.logits, size)
        labels_l = nearest(batch.label_l, size)
        valid_u = nearest(batch.unlabeled.valid_u, size)
        labels_u = most_certain(logits, valid_u, self.uncertain(batch.time)).labels
        return torch.cat([labels_l.flatten(), labels_u.flatten()])

    @torch.no_grad()
    def draw_negatives(
        self, views: StepViews, labels: Tensor, rows: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The negatives of each anchored class: pixels of other classes in this batch.

        Args:
            views: The step.
            labels: (P,) int64, from :meth:`label_map`.
            rows: Function that returns the (n, D) projections at (n,) positions.

        Returns:
            negatives: (C, N, D).
            counts: (C,) int64, how many of a class's negatives count, from the front.
        """
        index, counts = draw_others(labels, self.anchored, self.negatives)
        return take(rows, index), counts

    def ready(self) -> Tensor:
        """(K,) bool, the classes that may have anchors now."""
        full = self.bank.full
        return full if self.gate == 'per_class' else full & full.all()

    def prototypes(self, dense: Tensor, counts: Tensor) -> Tensor:
        """The centre of each anchored class: the mean of the densest projections of batch and bank, not normalised again.

        Args:
            dense: (C, P, D), the densest projections of the batch.
            counts: (C,), how many of them count, from the front.

        Returns:
            (C, D) float32.
        """
        stored, known = (x[self.anchored] for x in self.bank.densest(self.bank_positives))
        inside = torch.arange(dense.shape[1], device=dense.device) < counts[:, None]
        total = (dense.float() * inside[..., None]).sum(dim=1)
        total = total + (stored * known[..., None]).sum(dim=1)
        return total / (counts + known.sum(dim=1)).clamp(min=1)[:, None]

    @torch.no_grad()
    def _metrics(
        self, views: StepViews, density: Tensor, counts: Tensor, sparse: Tensor, number: Tensor
    ) -> dict[str, Tensor]:
        """Densities of anchors and positives, and the teacher's share of errors among the labelled anchors."""

        def mean(count: int, largest: bool) -> Tensor:
            values, inside = extreme_values(density, counts, count, largest)
            return (values * inside).sum() / inside.sum().clamp(min=1)

        values = {
            'density_anchor': mean(self.anchors, largest=False),
            'density_positive': mean(self.positives, largest=True),
        }
        if views.teacher.labeled is not None:
            size = views.student.labeled.features.shape[2:]
            predictions = at_size(views.teacher.labeled.logits, size).argmax(dim=1)
            truth = nearest(views.batch.label_l, predictions.shape[1:])
            wrong = (predictions != truth).flatten()
            inside = torch.arange(sparse.shape[1], device=sparse.device) < number[:, None]
            labeled = inside & (sparse < len(wrong))
            values['anchor_error'] = share(wrong[sparse.clamp(max=len(wrong) - 1)], labeled)
        return values

    # -- the bank ----------------------------------------------------------------------------------

    @torch.no_grad()
    def _keep_rows(self, pixels: ClassOrder, features: Callable, embeddings: Callable) -> None:
        """Draws this rank's candidates for the bank: bounded and detached."""
        places, counts = pixels.first(self.rows_per_step)
        index = pixels.order[places]
        self._kept = (
            pixels.keys[places],
            take(features, index, counts),
            take(embeddings, index, counts),
            counts,
        )
        self._pixels = len(pixels.order)

    @torch.no_grad()
    def after_step(self, views: StepViews) -> None:
        """Pushes the rows of before the optimiser's step into the banks, and logs which banks are full."""
        if self._kept is None:
            return
        (keys, features, embeddings, counts), self._kept = self._kept, None
        with part(f'objective/{self.name}/bank'):
            total = self._pixels
            if get_world_size() > 1:
                (features, embeddings), counts = draw_over_ranks(
                    keys, [features, embeddings], counts, self.rows_per_step
                )
                total = None  # the crops of the other ranks may be larger
            self.bank.push(features, embeddings, counts, total)
        if views.batch.monitor:
            self._report()

    def _report(self) -> None:
        """Logs a line if other banks are full than at the last one."""
        counts, size = self.bank.counts.tolist(), self.bank.size
        full = [c for c, count in enumerate(counts) if count == size]
        if full == self._reported:
            return
        self._reported = full
        rest = ', '.join(f'{c} ({count})' for c, count in enumerate(counts) if count < size)
        print_log(
            f'{self.name}: {len(full)} of {len(counts)} banks of {size} rows are full: {full}'
            + (f'; not yet: {rest}' if rest else ''),
            'current',
        )
