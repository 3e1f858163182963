"""The loss on pseudo-labelled images, whose masks an earlier network wrote into files (ST, ST++)."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.data.transforms import LoadPseudoMask
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.losses import check_divisor, self_training_loss
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective, share
from mmseg_semi.step.views import StepViews


@MODELS.register_module()
class PseudoMaskObjective(Objective):
    """Cross entropy of the student against stored pseudo-masks (arXiv 2106.05095).

    The masks come with the unlabelled images (``LoadPseudoMask``), so there is no teacher. A pseudo-labelled image has
    one view, which the pipeline augments strongly; it is the batch's view 'weak', because no network labels another one.

    Logs ``pixels`` (share of unpadded pixels that carry a pseudo-label) every iteration, and on the log's iterations
    ``agreement`` (share of those pixels where the student predicts it).

    Args:
        weight: A number or a schedule.
        divisor: 'confident', the mean over the pixels that carry a pseudo-label (the published code), 'valid' or
            'inverse', see :func:`mmseg_semi.step.losses.self_training_loss`.
        name: Prefix in the log.
    """

    all_needs = Needs(weak=True)

    def __init__(
        self, weight: float | dict = 1.0, divisor: str = 'confident', name: str = 'pseudo_masks'
    ) -> None:
        super().__init__(weight, name)
        self.divisor = check_divisor(divisor, name)

    def bind(self, networks: Networks) -> None:
        self._networks = networks

    def check_data(self, dataset: Any) -> None:
        _, *pools = getattr(dataset, 'datasets', None) or [None]
        for pool in pools:
            loaders = [s for s in pool.pipeline.transforms if isinstance(s, LoadPseudoMask)]
            if not loaders:
                raise SetupError(
                    f"objective '{self.name}' learns pseudo-masks, but a pipeline of train_dataloader.dataset.unlabeled "
                    "loads none: put dict(type='LoadPseudoMask', num_classes=...) behind LoadImage"
                )
            if loaders[0].masks is None:
                raise SetupError(
                    f"objective '{self.name}' learns pseudo-masks, but LoadPseudoMask of "
                    'train_dataloader.dataset.unlabeled.pipeline has masks=None: train with '
                    'mmseg-semi selective-retraining CONFIG, which writes them first, or name a folder of masks'
                )

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        labels, valid = views.batch.unlabeled.noisy_u, views.batch.unlabeled.valid_u
        logits = self._networks.upsample(views.student.weak.logits, labels.shape[1:])
        values = {
            'loss': self_training_loss(logits, labels, valid, self.divisor),
            'pixels': share(labels != IGNORE, valid),
        }
        if views.batch.monitor:
            with torch.no_grad():
                values['agreement'] = share(logits.argmax(dim=1) == labels, labels != IGNORE)
        return values
