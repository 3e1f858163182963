"""Self-training on pseudo-labels, weak to strong: FixMatch (arXiv 2001.07685) for pixels, and the base of DDFP.

``configs/fixmatch`` labels by an averaged teacher. FixMatch as published labels by the student itself
(``teacher=dict(weights='student')``); ``configs/mean_teacher`` has an averaged teacher without threshold and mixing
(arXiv 1703.01780).
"""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.labels import IGNORE
from mmseg_semi.step.losses import check_divisor, self_training_loss
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective, share
from mmseg_semi.step.views import STRONG, StepViews


@MODELS.register_module()
class SelfTrainingObjective(Objective):
    """Cross entropy of the student on the mixed strong view against the teacher's pseudo-labels of the weak view.

    If the labeller gives weights, each pixel's cross entropy has its weight.

    Logs ``confident`` (share of unpadded pixels that carry a pseudo-label) every iteration, and on the log's iterations
    ``agreement`` (share of the pixels with a pseudo-label where the student, on the mixed view, predicts it)
    and ``accuracy`` (of the teacher's predictions on labelled images, if its outputs include them).

    Args:
        weight: A number or a schedule.
        divisor: 'valid', 'confident' or 'inverse', see :func:`mmseg_semi.step.losses.self_training_loss`.
        view: Name of the view that is learned from: 'strong', a further strong view such as 'strong_2', or a feature view.
        name: Prefix in the log.
    """

    def __init__(
        self,
        weight: float | dict = 1.0,
        divisor: str = 'valid',
        view: str = STRONG,
        name: str = 'selftrain',
    ) -> None:
        super().__init__(weight, name)
        self.all_needs = Needs(teacher=True, views=frozenset([view]))
        self.view = view
        self.divisor = check_divisor(divisor, name)

    def bind(self, networks: Networks) -> None:
        self._networks = networks

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        mixed = views.teacher.labels_of(self.view)
        labels, valid, weight = mixed.pseudo_m.labels, mixed.valid_m, mixed.pseudo_m.weight
        logits = self._networks.upsample(views.student.of(self.view).logits, labels.shape[1:])
        values = {
            'loss': self_training_loss(logits, labels, valid, self.divisor, weight),
            'confident': share(labels != IGNORE, valid),
        }
        if views.batch.monitor:
            values |= self._metrics(views, logits, labels)
        return values

    @torch.no_grad()
    def _metrics(self, views: StepViews, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        metrics = {'agreement': share(logits.argmax(dim=1) == labels, labels != IGNORE)}
        if views.teacher.labeled is not None:
            truth = views.batch.label_l
            size = truth.shape[1:]
            logits_l = self._networks.upsample_teacher(views.teacher.labeled.logits, size)
            metrics['accuracy'] = share(logits_l.argmax(dim=1) == truth, truth != IGNORE)
        return metrics
