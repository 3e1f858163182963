"""Objectives that train with weak masks.

In CCT weak masks train the auxiliary decoders only; in self-training they are further pseudo-labels
with a separate weight.
"""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.cct.consistency import Term, label_cross_entropy
from mmseg_semi.methods.cct.objective import CCTObjective
from mmseg_semi.step.losses import masked_cross_entropy
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective, share
from mmseg_semi.step.schedules import build_schedule
from mmseg_semi.step.views import StepViews

from .weak_masks import LoadWeakMask


def check_masks(dataset: Any, name: str) -> None:
    """Check that some unlabelled images have weak masks; a single batch may hold none of them.

    Raises:
        SetupError: If no pipeline loads weak masks.
    """
    _, *pools = getattr(dataset, 'datasets', [None])
    if not any(
        isinstance(step, LoadWeakMask) for pool in pools for step in pool.pipeline.transforms
    ):
        raise SetupError(
            f"objective '{name}' needs weak masks, but no pipeline of train_dataloader.dataset.unlabeled loads them: put "
            'LoadWeakMask behind LoadImage in that of the image-labelled images, or remove the objective'
        )


def weak_labels(noisy: Tensor | None, valid: Tensor) -> Tensor:
    """Weak masks (N_u, H, W); all IGNORE if no image of the batch has one."""
    return torch.full_like(valid, IGNORE, dtype=torch.long) if noisy is None else noisy


@MODELS.register_module()
class WeakCCTObjective(CCTObjective):
    """CCT with image-level labels: auxiliary decoders learn weak masks, too.

    The cross entropy L_w = (1/K) sum_k CE(g_k(z_k), y) uses the same auxiliary outputs as the
    consistency. It is summed over the pixels whose weak mask is not IGNORE and divided by their
    number (by 1 if there are none). It trains auxiliary decoders and encoder; the main decoder
    never sees a weak label (arXiv 2003.09005, 3.4; github.com/yassouali/CCT). Both losses read the
    scores of one pass in bounded memory.

    Args:
        weak_weight: A number or a schedule; None: 0.4 with the ramp of ``weight``, as published.
        kwargs: Arguments of :class:`~mmseg_semi.methods.cct.objective.CCTObjective`.

    It also logs ``weak_pixels``, the share of unpadded pixels that a weak mask labels, and
    ``weak_agreement``, the share of those pixels where the main decoder predicts the same class.
    """

    def __init__(
        self,
        weight: float | dict = 30.0,
        weak_weight: float | dict | None = None,
        name: str = 'cct',
        **kwargs,
    ) -> None:
        super().__init__(weight, name=name, **kwargs)
        if weak_weight is None:
            ramp = isinstance(weight, dict) and weight.get('type') == 'Ramp'
            weak_weight = dict(weight, value=0.4) if ramp else 0.4
        self.weak_weight = build_schedule(weak_weight, f'{name}.weak_weight')

    def needs(self, time: float) -> Needs:
        return self.all_needs if self.weight(time) > 0 or self.weak_weight(time) > 0 else Needs()

    def check_data(self, dataset: Any) -> None:
        check_masks(dataset, self.name)

    def loss(self, views: StepViews) -> dict[str, Tensor]:
        factors = {
            'loss': self.weight(views.batch.time),
            'loss_weak': self.weak_weight(views.batch.time),
        }
        if not any(factors.values()):
            return super().loss(views)
        return {
            key: value * factors[key] if key in factors else value.detach()
            for key, value in self.compute(views).items()
        }

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        compared = self._compared(views)
        target, counted = self.target(views, compared)
        unlabeled = views.batch.unlabeled
        labels = weak_labels(unlabeled.noisy_u, unlabeled.valid_u)
        labels = self.on_grid(views, labels, IGNORE)
        known = labels != IGNORE
        terms = [
            Term(self.distance, target, counted),
            Term(label_cross_entropy, labels[:, None], known),
        ]
        sums = self.sums(views, terms)
        values = self.consistency(views, [own[0] for own in sums], target, compared, counted)
        weak = torch.cat([own[1] for own in sums]).sum()
        values['loss_weak'] = weak / (sum(self.counts) * known.sum().clamp(min=1))
        if views.batch.monitor:
            values['weak_pixels'] = share(known, compared)
            values['weak_agreement'] = share(target.argmax(dim=1) == labels, known)
        return values


@MODELS.register_module()
class WeakSelfTrainingObjective(Objective):
    """Self-training with weak masks: cross entropy on the mixed strong view.

    It is used beside ``SelfTrainingObjective`` (FixMatch, Mean Teacher) or ``DDFPObjective``. A
    weak mask is mixed with its image; the mean is over the pixels that it labels.

    Args:
        weight: A number or a schedule.
        name: Prefix in the log.

    It logs ``pixels``, the share of unpadded pixels that a weak mask labels, every iteration.
    """

    all_needs = Needs(teacher=True, strong=True)

    def __init__(self, weight: float | dict = 0.4, name: str = 'weak') -> None:
        super().__init__(weight, name)

    def bind(self, networks: Networks) -> None:
        self._networks = networks

    def check_data(self, dataset: Any) -> None:
        check_masks(dataset, self.name)

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        mixed = views.teacher.mixed
        if views.batch.unlabeled.noisy_u is not None and mixed.pseudo_m.noisy is None:
            raise SetupError(
                f"objective '{self.name}': model.mixing dropped the weak masks: let it move PseudoLabels.noisy with the "
                'pixels, as mmseg_semi.step.mixing.mix does'
            )
        labels = weak_labels(mixed.pseudo_m.noisy, mixed.valid_m)
        logits = self._networks.upsample(views.student.mixed.logits, labels.shape[1:])
        return {
            'loss': masked_cross_entropy(logits, labels),
            'pixels': share(labels != IGNORE, mixed.valid_m),
        }
