"""The supervised objective: the student's own MMSegmentation losses on the labelled rows."""

from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from mmseg_semi.step.objective import Objective
from mmseg_semi.step.views import Needs, StepViews


@MODELS.register_module()
class SupervisedObjective(Objective):
    """``loss_decode`` of the decode head and of every auxiliary head, named as in MMSegmentation.

    The heads' ``loss_decode`` decides the loss: give ``CrossEntropyLoss`` ``avg_non_ignore=True`` to average over the
    labelled pixels, as the published code does; its default divides by void pixels too.
    """

    all_needs = Needs(labeled=True)

    def __init__(self, weight: float | dict = 1.0, name: str = 'sup') -> None:
        super().__init__(weight, name)

    def bind(self, segmentor: nn.Module) -> None:
        self._student = (segmentor.student,)

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        (student,) = self._student
        rows = views.student_l
        losses = add_prefix(
            student.decode_head.loss_by_feat(rows.logits, views.samples_l), 'decode'
        )
        if student.with_auxiliary_head:
            heads = student.auxiliary_head
            for index, head in enumerate(heads if isinstance(heads, nn.ModuleList) else [heads]):
                own = head.loss(rows.backbone, views.samples_l, student.train_cfg)
                losses.update(
                    add_prefix(own, f'aux_{index}' if isinstance(heads, nn.ModuleList) else 'aux')
                )
        return losses
