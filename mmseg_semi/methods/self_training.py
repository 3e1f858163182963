"""Self-training on pseudo-labels, weak to strong: FixMatch (arXiv 2001.07685) for pixels, and the base of DDFP.

With an averaged teacher this is also Mean Teacher with hard labels (arXiv 1703.01780); with a shared one, FixMatch as
published.
"""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.labels import IGNORE
from mmseg_semi.step.losses import check_divisor, self_training_loss
from mmseg_semi.step.objective import Objective, share
from mmseg_semi.step.views import Needs, StepViews


@MODELS.register_module()
class SelfTrainingObjective(Objective):
    """Cross entropy of the student on the mixed strong view against the teacher's labels of the weak view.

    Logs ``confident`` (share of unpadded pixels that carry a pseudo-label) every iteration, and on the log's iterations
    ``agreement`` (share of the pixels with a pseudo-label where the student, on the mixed view, answers it)
    and ``accuracy`` (of the teacher's labels on labelled images, where its rows include them).

    Args:
        weight: A number or a schedule.
        divisor: 'valid', 'confident' or 'inverse', see :func:`mmseg_semi.step.losses.self_training_loss`.
        name: Prefix in the log.
    """

    all_needs = Needs(teacher=True, strong=True)

    def __init__(
        self, weight: float | dict = 1.0, divisor: str = 'valid', name: str = 'selftrain'
    ) -> None:
        super().__init__(weight, name)
        self.divisor = check_divisor(divisor, name)

    def bind(self, segmentor: nn.Module) -> None:
        self._upsample = segmentor.upsample

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        labels, valid = views.pseudo_m.labels, views.valid_m
        logits = self._upsample(views.student_m.logits, labels.shape[1:])
        values = {
            'loss': self_training_loss(logits, labels, valid, self.divisor),
            'confident': share(labels != IGNORE, valid),
        }
        if views.monitor:
            with torch.no_grad():
                confident = labels != IGNORE
                values['agreement'] = share(logits.argmax(dim=1) == labels, confident)
                if views.teacher_l is not None:
                    answer = self._upsample(views.teacher_l.logits, views.label_l.shape[1:]).argmax(
                        dim=1
                    )
                    values['accuracy'] = share(answer == views.label_l, views.label_l != IGNORE)
        return values
