"""The supervised objective: the student's own MMSegmentation losses on the labelled images."""

from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.views import StepViews


@MODELS.register_module()
class SupervisedObjective(Objective):
    """``loss_decode`` of the decode head and of every auxiliary head, with MMSegmentation's names.

    The heads' ``loss_decode`` decides the loss: give ``CrossEntropyLoss`` ``avg_non_ignore=True`` to average over the
    labelled pixels, as the published code does; its default divides by ignored pixels too.

    Args:
        weight: A number or a schedule.
        name: Prefix in the log.
    """

    all_needs = Needs(labeled=True)

    def __init__(self, weight: float | dict = 1.0, name: str = 'sup') -> None:
        super().__init__(weight, name)

    def bind(self, networks: Networks) -> None:
        self._networks = networks

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        student, outputs = self._networks.student, views.student.labeled
        samples = views.batch.samples_l
        losses = add_prefix(student.decode_head.loss_by_feat(outputs.logits, samples), 'decode')
        if student.with_auxiliary_head:
            heads = student.auxiliary_head
            for index, head in enumerate(heads if isinstance(heads, nn.ModuleList) else [heads]):
                own = head.loss(outputs.backbone, samples, student.train_cfg)
                losses.update(
                    add_prefix(own, f'aux_{index}' if isinstance(heads, nn.ModuleList) else 'aux')
                )
        return losses
