"""Self-training on perturbed features of the weak view, by the head itself.

The registered perturbations are those of CCT (arXiv 2003.09005), here without its auxiliary decoders. UniMatch (arXiv
2208.09910) drops channels earlier, at the backbone's outputs: ``feature_views=[dict(type='ChannelDropout', ...)]``.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_semi.methods.cct import Guidance, build_perturbation
from mmseg_semi.step.losses import check_divisor, self_training_loss
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective, check_background
from mmseg_semi.step.views import StepViews


@contextmanager
def untracked(module: nn.Module) -> Iterator[None]:
    """Inside the block, norms in training mode do not update their running statistics.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm2d(3)
        >>> with untracked(norm):
        ...     _ = norm(torch.randn(2, 3, 4, 4))
        >>> norm.running_mean.tolist()
        [0.0, 0.0, 0.0]
    """
    norms = [m for m in module.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    norms = [norm for norm in norms if norm.training]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@MODELS.register_module()
class PerturbedFeaturesObjective(Objective):
    """Cross entropy of the head's logits on perturbed features of the weak view against the unmixed pseudo-labels.

    Works with every head, beside every objective that trains on pseudo-labels. It perturbs the output of the head's first
    stage: for heads of MMSegmentation this is the input of their classifier.

    Args:
        perturbation: Config of a registered perturbation.
        weight: A number or a schedule.
        divisor: 'valid', 'confident' or 'inverse', see :func:`mmseg_semi.step.losses.self_training_loss`.
        background_classes: Classes that count as no object, for the perturbations guided by objects.
        name: Prefix in the log.
    """

    # the pseudo-labels come with the strong view
    all_needs = Needs(teacher=True, strong=True, weak_features=True)

    def __init__(
        self,
        perturbation: dict,
        weight: float | dict = 0.5,
        divisor: str = 'valid',
        background_classes: tuple[int, ...] = (0,),
        name: str = 'perturbed',
    ) -> None:
        super().__init__(weight, name)
        self.perturbation = build_perturbation(perturbation, f'{name}.perturbation')
        self.divisor = check_divisor(divisor, name)
        self.background_classes = tuple(background_classes)

    def bind(self, networks: Networks) -> None:
        check_background(self.background_classes, networks.num_classes, self.name)
        self._networks = networks

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        networks, stages = self._networks, self._networks.stages

        def decode(fused: Tensor) -> Tensor:
            return stages.finish(stages.lift(fused)).logits

        def probe(fused: Tensor) -> Tensor:
            with untracked(networks.student.decode_head):
                return decode(fused)

        outputs, pseudo = views.student.weak, views.teacher.pseudo_u
        labels, weight = pseudo.labels, pseudo.weight
        size, generator = tuple(labels.shape[1:]), views.batch.generator
        guidance = Guidance(outputs.logits, generator, size, self.background_classes, probe)
        logits = decode(self.perturbation(outputs.fused, guidance))
        logits = networks.upsample(logits, size)
        valid = views.batch.unlabeled.valid_u
        return {'loss': self_training_loss(logits, labels, valid, self.divisor, weight)}
