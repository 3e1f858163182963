"""Self-training on perturbed features of the weak view, by the head itself.

With ``FeatureDropout`` this is the feature perturbation of UniMatch (arXiv 2208.09910; github.com/LiheYoung/UniMatch), with
the other registered perturbations what CCT (arXiv 2003.09005) does to its auxiliary decoders, without any.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_semi.methods.cct import Guidance, build_perturbation
from mmseg_semi.step.losses import check_divisor, self_training_loss
from mmseg_semi.step.objective import Objective, check_background
from mmseg_semi.step.views import Needs, StepViews


@contextmanager
def untracked(module: nn.Module) -> Iterator[None]:
    """Inside the block, norms in training do not move their running statistics."""
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
    """Cross entropy of the head's answer on perturbed features of the weak view against the unmixed pseudo-labels.

    Works with every head and beside every objective that trains on pseudo-labels, one line in its list. What is perturbed is
    the output of the head's first stage: for heads that are not ours the input of their classifier.

    Args:
        perturbation: Config of a registered perturbation.
        weight: A number or a schedule.
        divisor: 'valid' or 'confident', see :func:`mmseg_semi.step.losses.self_training_loss`.
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

    def bind(self, segmentor: nn.Module) -> None:
        check_background(self.background_classes, segmentor.num_classes, self.name)
        self._segmentor = (segmentor,)

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        (segmentor,) = self._segmentor
        stages = segmentor.stages

        def decode(fused: Tensor) -> Tensor:
            return stages.finish(stages.lift(fused)).logits

        def probe(fused: Tensor) -> Tensor:
            with untracked(segmentor.student.decode_head):
                return decode(fused)

        rows, labels = views.student_w, views.pseudo_u.labels
        guidance = Guidance(
            rows.logits, views.generator, tuple(labels.shape[1:]), self.background_classes, probe
        )
        logits = decode(self.perturbation(rows.fused, guidance))
        logits = segmentor.upsample(logits, labels.shape[1:])
        return {'loss': self_training_loss(logits, labels, views.valid_u, self.divisor)}
