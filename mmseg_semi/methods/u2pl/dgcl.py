"""DGCL's anchors and prototypes with U2PL's negatives."""

from collections.abc import Callable, Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl import DGCLObjective, at_size
from mmseg_semi.methods.u2pl.negatives import UnreliableNegatives
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.parts import part
from mmseg_semi.step.pixels import nearest
from mmseg_semi.step.views import StepViews


@MODELS.register_module()
class DGCLUnreliableObjective(DGCLObjective):
    """:class:`DGCLObjective` whose anchors are pushed away from U2PL's unreliable pixels.

    DGCL's sparsest features are pulled to the prototype of their class's densest ones, as before. Instead of the batch's
    pixels of other classes, the negatives are rows of U2PL's queues: pixels of recent steps that are probably not of the
    class. All anchors of a class share them, as in DGCL.

    Args:
        unreliable, low_rank, high_rank: See :class:`~mmseg_semi.methods.u2pl.objective.U2PLObjective`.
        queue_size: Rows of a class's queue (30,000).
        queue_sizes: {class: rows} of those with another size.
        keys_per_step: Largest number of new rows of a class a step, over all ranks (1,000).
        kwargs: Those of :class:`DGCLObjective`.

    State: that of :class:`DGCLObjective`, and ``unreliable_negatives.queue``.

    Raises:
        SetupError: If a value is out of range, or if the teacher does not see labelled images.
    """

    def __init__(
        self,
        *args,
        unreliable: float | dict = 20.0,
        low_rank: int = 3,
        high_rank: int = 20,
        queue_size: int = 30_000,
        queue_sizes: Mapping[int, int] | None = None,
        keys_per_step: int = 1000,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.negative_options = dict(
            unreliable=unreliable,
            low_rank=low_rank,
            high_rank=high_rank,
            keys_per_step=keys_per_step,
            size=queue_size,
            sizes=queue_sizes,
            dtype=self.bank_options['dtype'],
            key=self.name,
        )

    def bind(self, networks: Networks) -> None:
        super().bind(networks)
        if networks.recipe is not None and networks.recipe.rows != 'labeled+weak':
            raise SetupError(
                f"objective '{self.name}' takes negatives by the teacher's outputs for labelled images, too, but "
                f"model.teacher.rows='{networks.recipe.rows}': set model.teacher.rows='labeled+weak'"
            )
        self.unreliable_negatives = UnreliableNegatives(
            networks.num_classes, self.get_projection().out_channels, **self.negative_options
        )

    @torch.no_grad()
    def draw_negatives(
        self, views: StepViews, labels: Tensor, rows: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Rows of each anchored class's queue, with replacement; keeps this step's rows for the queues."""
        size = views.student.labeled.features.shape[2:]
        teacher = views.teacher
        self.unreliable_negatives.keep(
            rows,
            nearest(views.batch.label_l, size),
            at_size(teacher.labeled.logits, size),
            at_size(teacher.weak.logits, size),
            nearest(views.batch.unlabeled.valid_u, size),
            views.batch.time,
        )
        queue = self.unreliable_negatives.queue
        classes = [c for c in range(len(queue.counts)) if c not in self.excluded_classes]
        places = torch.stack([queue.places(c, self.negatives) for c in classes])
        counts = (queue.counts[self.anchored] > 0) * self.negatives
        return queue.rows[places].float(), counts

    @torch.no_grad()
    def after_step(self, views: StepViews) -> None:
        """Pushes the rows of before the optimiser's step into banks and queues."""
        super().after_step(views)
        with part(f'objective/{self.name}/queue'):
            self.unreliable_negatives.push()
