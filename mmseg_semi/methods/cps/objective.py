"""Cross pseudo supervision: each of two students learns what the other predicts.

X. Chen, Y. Yuan, G. Zeng, J. Wang, "Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision", CVPR 2021, arXiv
2106.01226; behaviour checked against github.com/charlesCXK/TorchSemiSeg (5e0c29c).

Differences from the released code: padding, and void pixels of labelled images, are left out; the peer labels in a pass of
its own, where the code without CutMix takes the labels from the peer's training pass.
"""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.self_training import SelfTrainingObjective
from mmseg_semi.step.losses import self_training_loss
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs
from mmseg_semi.step.views import STRONG, StepViews


@MODELS.register_module()
class CrossPseudoObjective(SelfTrainingObjective):
    """Cross entropy of a student against the other one's predictions, on unlabelled and on labelled images.

    The recipe has ``model.peer``, ``teacher=dict(weights='student', rows='labeled+weak')`` and a threshold of 0. The loss is the
    mean over all pixels of both kinds that are neither padding nor void. On unlabelled images alone, as the released code
    does with CutMix, this is :class:`~mmseg_semi.methods.self_training.SelfTrainingObjective`.

    Args:
        weight: A number or a schedule (VOC 1.5, Cityscapes 6).
        view: Name of the view of unlabelled images.
        name: Prefix in the log.

    Raises:
        SetupError: From :meth:`bind`, a recipe whose teacher does not label labelled images.
    """

    def __init__(self, weight: float | dict = 1.5, view: str = STRONG, name: str = 'cross') -> None:
        super().__init__(weight, 'valid', view, name)
        self.all_needs = self.all_needs | Needs(labeled=True)

    def bind(self, networks: Networks) -> None:
        super().bind(networks)
        if networks.recipe is not None and networks.recipe.rows != 'labeled+weak':
            raise SetupError(
                f"objective '{self.name}' learns the other student's predictions on labelled images, too, but "
                f"model.teacher.rows='{networks.recipe.rows}': set model.teacher.rows='labeled+weak', or use a SelfTrainingObjective"
            )

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        values = super().compute(views)
        truth, valid_u = views.batch.label_l, views.teacher.labels_of(self.view).valid_m
        size = truth.shape[1:]
        valid_l = truth != IGNORE
        with torch.no_grad():
            predicted = self._networks.upsample_teacher(views.teacher.labeled.logits, size)
            labels = predicted.argmax(dim=1).masked_fill(~valid_l, IGNORE)
        logits = self._networks.upsample(views.student.labeled.logits, size)
        loss_l = self_training_loss(logits, labels, valid_l, self.divisor)
        count_l, count_u = valid_l.sum(), valid_u.sum()
        whole = (count_l + count_u).clamp(min=1)
        values['loss'] = values['loss'] * (count_u / whole) + loss_l * (count_l / whole)
        return values
