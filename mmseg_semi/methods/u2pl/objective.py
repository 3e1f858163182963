"""U2PL: semi-supervised semantic segmentation using unreliable pseudo-labels.

Y. Wang et al., CVPR 2022, https://arxiv.org/abs/2203.03884; behaviour checked against
https://github.com/Haochen-Wang409/U2PL (ab3d2be). The recipe is self-training on all but the most uncertain pixels
(``EntropyPercentile``, ``SelfTrainingObjective(divisor='inverse')``) and this objective: the features of confident
pixels are pulled to the prototype of their class, and pushed away from pixels that are surely not of their class, most of them
without a reliable pseudo-label. README.md says where this departs from the released code.
"""

from collections.abc import Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.class_scores import softmax
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.dgcl import Projection, at_size, order_by_class, take
from mmseg_semi.methods.u2pl.negatives import UnreliableNegatives
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.parts import part
from mmseg_semi.step.pixels import nearest, rows_of
from mmseg_semi.step.teacher import MovingAverage
from mmseg_semi.step.views import STRONG, StepViews


@MODELS.register_module()
class U2PLObjective(Objective):
    """Contrasts each class's confident pixels with negatives from its queue, by the teacher's representation.

    Anchors are the student's, of labelled and mixed unlabelled images; prototypes and negatives are the teacher's, of labelled
    and unmixed unlabelled images. Works with any head. A head with a ``projection`` (``DGCLHead(projection=True)``) gives the
    representation, and its teacher's; for others the objective has a projection and an average of it.

    Logs ``fill`` (share of the queues' rows that are filled) and ``classes`` (number of classes with anchors and negatives).

    Args:
        weight: A number or a schedule (1). The authors' code divides by the number of GPUs once more, so its runs had 0.25
            on VOC and 0.125 on Cityscapes.
        confidence: A pixel is an anchor if the teacher's probability of its class is above this (0.3).
        anchors: Anchors of a class (256).
        contrast: Config of the loss.
        unreliable: Percentage of the unlabelled pixels that are negatives (20 falling to 0).
        low_rank, high_rank: Ranks of the classes that an unreliable pixel is a negative of (3, 20).
        queue_size: Rows of a class's queue (30,000).
        queue_sizes: {class: rows} of those with another size (VOC: {0: 50,000}).
        queue_dtype: 'float32' or 'bfloat16'.
        keys_per_step: Largest number of new rows of a class a step, over all ranks (1,000).
        projection_channels: Width of the representation if the head has none (256).
        momentum: Share of the student in an update of the objective's averaged projection (0.01).
        view: Name of the strong view that the anchors are from.
        name: Prefix in the log.

    State: ``negatives.queue``; ``projection``, ``averaged`` and ``updates`` (their number), if the head has none.

    Raises:
        SetupError: If a value is out of range, or if the teacher does not see labelled images.
    """

    def __init__(
        self,
        weight: float | dict = 1.0,
        confidence: float = 0.3,
        anchors: int = 256,
        contrast: dict | None = None,
        unreliable: float | dict = 20.0,
        low_rank: int = 3,
        high_rank: int = 20,
        queue_size: int = 30_000,
        queue_sizes: Mapping[int, int] | None = None,
        queue_dtype: str = 'float32',
        keys_per_step: int = 1000,
        projection_channels: int = 256,
        momentum: float = 0.01,
        view: str = STRONG,
        name: str = 'u2pl',
    ) -> None:
        super().__init__(weight, name)
        if not 0 <= confidence < 1 or anchors < 1 or projection_channels < 1:
            raise SetupError(
                f'{name}: confidence={confidence}, anchors={anchors}, projection_channels={projection_channels}; expected a '
                'probability in [0, 1) and numbers >= 1'
            )
        if not 0 < momentum <= 1:
            raise SetupError(f'{name}.momentum={momentum}: expected a share in (0, 1]')
        self.confidence, self.anchors, self.view = confidence, anchors, view
        self.contrast = MODELS.build(contrast or dict(type='QueueContrastLoss'))
        self.projection_channels, self.momentum = projection_channels, momentum
        self.negative_options = dict(
            unreliable=unreliable,
            low_rank=low_rank,
            high_rank=high_rank,
            keys_per_step=keys_per_step,
            size=queue_size,
            sizes=queue_sizes,
            dtype=queue_dtype,
            key=name,
        )
        self.all_needs = Needs(
            labeled=True,
            views=frozenset([view]),
            teacher=True,
            teacher_features=True,
            projection=True,
        )
        self.averaged: nn.Module | None = None
        self._average: MovingAverage | None = None
        self._updates = 0

    def bind(self, networks: Networks) -> None:
        head = networks.student.decode_head
        if networks.recipe is not None and networks.recipe.rows != 'labeled+weak':
            raise SetupError(
                f"objective '{self.name}' takes prototypes and negatives from the teacher's outputs for labelled images, too, "
                f"but model.teacher.rows='{networks.recipe.rows}': set model.teacher.rows='labeled+weak'"
            )
        if networks.pseudo_label is not None and networks.pseudo_label.gives_weights:
            raise SetupError(
                f"objective '{self.name}': {type(networks.pseudo_label).__name__} weights the pseudo-labels of all pixels, but "
                'prototypes and anchors need to know which of them are reliable: use EntropyPercentile or a threshold'
            )
        projection = getattr(head, 'projection', None)
        theirs = getattr(networks.teacher_network.decode_head, 'projection', None)
        if projection is None:
            arguments = head.conv_seg.in_channels, self.projection_channels, head.norm_cfg
            self.projection, self.averaged = Projection(*arguments), Projection(*arguments)
            self.averaged.requires_grad_(False).load_state_dict(self.projection.state_dict())
            self.register_buffer('updates', torch.zeros((), dtype=torch.int64))
            projection, theirs = self.projection, self.averaged
        self._projections = projection, theirs
        self._mode = 'eval' if networks.recipe is None else networks.recipe.mode
        self.negatives = UnreliableNegatives(
            networks.num_classes, projection.out_channels, **self.negative_options
        )

    def train(self, mode: bool = True) -> 'U2PLObjective':
        """Sets the mode of everything but the averaged projection, which uses its averaged statistics."""
        super().train(mode)
        if self.averaged is not None:
            self.averaged.eval()
        return self

    def get_projection(self) -> nn.Module:
        """The head's projection, or this objective's."""
        return self._projections[0]

    def idle_parameters(self) -> list[nn.Parameter]:
        return list(self.get_projection().parameters())

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        student = views.student.labeled, views.student.of(self.view)
        labels = self.anchor_labels(views)
        pixels = order_by_class(labels, len(self.negatives.queue.counts))
        places, counts = pixels.first(self.anchors)
        anchors = take(rows_of(*(x.projection for x in student)), pixels.order[places])
        prototypes, known = self.prototypes(views)
        queue = self.negatives.queue
        with part(f'objective/{self.name}/contrast'):
            loss = self.contrast(anchors, counts, prototypes, queue, known)
        used = (counts > 0) & known & (queue.counts > 0)
        return {
            'loss': loss,
            'fill': queue.counts.sum() / len(queue.rows),
            'classes': used.sum().float(),
        }

    # -- pixels of the maps ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def anchor_labels(self, views: StepViews) -> Tensor:
        """Class of the pixels of the student's labelled and mixed maps that are anchors, (P,) int64, else IGNORE.

        A labelled pixel has its label, an unlabelled one its pseudo-label, if the teacher's probability of it is high enough.
        """
        size = views.student.labeled.features.shape[2:]
        labels_l = nearest(views.batch.label_l, size)
        probabilities = softmax(at_size(views.teacher.labeled.logits, size).float())
        index = labels_l.masked_fill(labels_l == IGNORE, 0)[:, None]
        confidence_l = probabilities.gather(1, index)[:, 0]
        pseudo = views.teacher.labels_of(self.view).pseudo_m
        labels_m, confidence_m = nearest(pseudo.labels, size), nearest(pseudo.confidence, size)
        labels = [
            labels.masked_fill(confidence <= self.confidence, IGNORE).flatten()
            for labels, confidence in ((labels_l, confidence_l), (labels_m, confidence_m))
        ]
        return torch.cat(labels)

    @torch.no_grad()
    def prototypes(self, views: StepViews) -> tuple[Tensor, Tensor]:
        """The mean of the teacher's representation over each class's pixels, and keeps negatives for the queues.

        Returns:
            prototypes: (K, D) float32.
            known: (K,) bool, False for classes without a pixel in this step.
        """
        labeled, weak = views.teacher.labeled, views.teacher.weak
        theirs = self._projections[1]
        was_training = theirs.training
        if (
            self.averaged is None
        ):  # the head's: in the teacher's mode, also if the student is the teacher
            theirs.train(self._mode == 'train')
        maps = [theirs(x.features).float() for x in (labeled, weak)]
        theirs.train(was_training)
        torch.clear_autocast_cache()  # for the reason given in SemiSegmentor._label
        size = maps[0].shape[2:]
        labels_l = nearest(views.batch.label_l, size)
        logits_l, logits_u = (at_size(x.logits, size) for x in (labeled, weak))
        valid_u = nearest(views.batch.unlabeled.valid_u, size)
        self.negatives.keep(rows_of(*maps), labels_l, logits_l, logits_u, valid_u, views.batch.time)
        sums, counts = 0.0, 0
        for labels, rows in zip(
            (labels_l, nearest(views.teacher.pseudo_u.labels, size)), maps, strict=True
        ):
            classes = torch.arange(logits_l.shape[1], device=rows.device)[:, None, None]
            own = labels[:, None] == classes
            sums = sums + torch.einsum('nkhw,ndhw->kd', own.float(), rows)
            counts = counts + own.sum(dim=(0, 2, 3))
        return sums / counts.clamp(min=1)[:, None], counts > 0

    # -- after the step ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def after_step(self, views: StepViews) -> None:
        """Adds the rows of before the optimiser's step to the queues, and updates the averaged projection."""
        with part(f'objective/{self.name}/queue'):
            self.negatives.push()
        if self.averaged is None or self.weight(views.batch.time) == 0:
            return
        if (
            self._average is None
        ):  # not in bind: buffers are other tensors once the model has moved to its device
            self._average = MovingAverage(
                self.averaged, self.projection, self.momentum, buffers='average'
            )
            self._updates = int(self.updates)  # of a resumed run; read once
        # the first update copies, whenever the weight begins: until then the projection had no statistics
        self._average.update(self._updates)
        self._updates += 1
        self.updates += 1
