"""DDFP: density-descending feature perturbation.

X. Wang, H. Bai, L. Yu, Y. Zhao, J. Xiao, "Towards the Uncharted: Density-Descending Feature Perturbation for
Semi-supervised Semantic Segmentation", CVPR 2024, arXiv 2403.06462; behaviour checked against github.com/Gavinwxy/DDFP
(7956c72).

The code follows the paper's figure. A normalising flow learns the density of the teacher's penultimate features. At the
decoder's input the feature of every confident pixel of the student's strong view is moved a fixed length down that density.
The classifier must still predict the pseudo-label from the moved feature.

Differences from the released code: the gradient is that of the sum over pixels, in float32 (same direction); the first
decoder convolution does not run again for the direction (same numbers); auxiliary norms keep no statistics (nothing reads
them); without a confident pixel, or without a valid one, the loss is zero instead of an error.
"""

import math

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.ddfp.direction import density_descending_direction, random_direction
from mmseg_semi.methods.ddfp.head import DDFPHead
from mmseg_semi.methods.ddfp.mixture import IGNORED, UNLABELED, MixtureDensity
from mmseg_semi.step.losses import check_divisor, self_training_loss
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective
from mmseg_semi.step.pixels import draw_pixels, nearest, rows_at, rows_of
from mmseg_semi.step.views import STRONG, StepViews


@MODELS.register_module()
class DDFPObjective(Objective):
    """Cross entropy of features moved down their density against the pseudo-labels.

    ``FlowEstimatorHook`` fits the flow after every optimiser step, on samples that :meth:`loss` keeps.

    Works with ``DDFPHead(split_norms=True)``, whose auxiliary norms normalise the moved features, and with heads of
    MMSegmentation, where the moved feature is the classifier's input and there are no norms to split.

    Args:
        weight: A number or a schedule; 0 until the perturbation starts (VOC: 0.5 from the third epoch).
        density_start: Time from which the flow is fitted (VOC: epoch 1, counted from 0).
        eps: L2 length of the perturbation at each pixel, in units of the decoder input (4.0).
        divisor: 'confident' (released code) or 'valid', as for the self-training loss.
        samples: Features a step and rank that fit the flow (20480), drawn uniformly without replacement among labelled
            pixels of known class and all unpadded unlabelled ones.
        noise: Standard deviation of the noise on the flow's input (0.05).
        hidden_channels: Width of the flow's subnets (256).
        num_blocks: Coupling blocks (2).
        direction: 'density', or 'random' for the control of the same length.
        auxiliary_half: Before the perturbation starts, send the last half of the student's images through the auxiliary
            norms, as the released code does; the paper does not.
        view: Name of the view whose features are moved: 'strong', a further strong view or a feature view.
        name: Prefix in the log.

    State: ``density`` (flow and means), frozen for the student's optimiser; ``nll`` (0-dim), the flow's loss at the last
    step, logged as ``bits_per_dim`` one iteration later.

    Raises:
        SetupError: A value out of range; a head that cannot serve (from :meth:`bind`).
    """

    def __init__(
        self,
        weight: float | dict = 0.5,
        density_start: float = 0,
        eps: float = 4.0,
        divisor: str = 'confident',
        samples: int = 20480,
        noise: float = 0.05,
        hidden_channels: int = 256,
        num_blocks: int = 2,
        direction: str = 'density',
        auxiliary_half: bool = False,
        view: str = STRONG,
        name: str = 'ddfp',
    ) -> None:
        super().__init__(weight, name)
        self.all_needs = Needs(teacher=True, teacher_features=True, views=frozenset([view]))
        self.view = view
        if eps <= 0 or samples < 1 or noise < 0 or density_start < 0:
            raise SetupError(
                f'{name}: eps={eps}, samples={samples}, noise={noise}, density_start={density_start}; expected eps > 0, '
                'samples >= 1, noise >= 0 and density_start >= 0'
            )
        if direction not in ('density', 'random'):
            raise SetupError(f"{name}.direction='{direction}': expected 'density' or 'random'")
        self.density_start = density_start
        self.eps = eps
        self.divisor = check_divisor(divisor, name)
        self.samples = samples
        self.noise = noise
        self.flow_size = dict(hidden_channels=hidden_channels, num_blocks=num_blocks)
        self.direction = direction
        self.auxiliary_half = auxiliary_half
        self._kept: tuple[Tensor, Tensor] | None = None

    def bind(self, networks: Networks) -> None:
        head = networks.student.decode_head
        if isinstance(head, DeepLabV3PlusHead) and not (
            isinstance(head, DDFPHead) and head.split_norms
        ):
            raise SetupError(
                f"objective '{self.name}' sends moved features through auxiliary norms, but student.decode_head is "
                f"{type(head).__name__} without them: use decode_head=dict(type='DDFPHead', split_norms=True, ...)"
            )
        if networks.recipe is not None and networks.recipe.rows != 'labeled+weak':
            raise SetupError(
                f"objective '{self.name}' fits its density on the teacher's features of labelled and unlabelled images, "
                f"but model.teacher.rows='{networks.recipe.rows}': set model.teacher.rows='labeled+weak'"
            )
        if head.conv_seg.in_channels % 2:
            raise SetupError(
                f"objective '{self.name}' splits features in halves, but student.decode_head.channels="
                f'{head.conv_seg.in_channels} is odd: use an even number'
            )
        self.density = MixtureDensity(
            head.conv_seg.in_channels, networks.num_classes, **self.flow_size
        )
        self._networks = networks
        self._auxiliary = [
            parameter
            for name, parameter in head.named_parameters()
            if isinstance(head, DDFPHead) and name.startswith('aux_norm')
        ]
        self.register_buffer('nll', torch.zeros(()))

    def needs(self, time: float) -> Needs:
        if self.weight(time) > 0:
            return self.all_needs
        routing = Needs(auxiliary_half=self.auxiliary_half)
        if time >= self.density_start:
            return routing | Needs(teacher=True, teacher_features=True)
        return routing

    def idle_parameters(self) -> list[nn.Parameter]:
        return self._auxiliary

    def loss(self, views: StepViews) -> dict[str, Tensor]:
        if views.batch.time >= self.density_start:
            self._keep_samples(views)
        # of the previous step's fit: read together with this step's losses, without another stop of the device
        bits = self.nll / (self.density.channels * math.log(2))
        return {**super().loss(views), 'bits_per_dim': bits}

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        stages, outputs = self._networks.stages, views.student.of(self.view)
        mixed = views.teacher.labels_of(self.view)
        labels = mixed.pseudo_m.labels
        confident = nearest(labels, outputs.lifted.shape[2:]) != IGNORE
        delta = self.perturbation(outputs.fused, outputs.lifted, confident)
        # not detached: the loss on the moved features trains the encoder, too
        moved = outputs.lifted + stages.lift_delta(delta)
        features, logits, _ = stages.finish(moved, (0, len(moved)))
        logits = self._networks.upsample(logits, labels.shape[1:])
        weight = mixed.pseudo_m.weight
        loss = self_training_loss(logits, labels, mixed.valid_m, self.divisor, weight)
        values = {'loss': loss}
        if views.batch.monitor:
            values['density_drop'] = self._density_drop(outputs.lifted, features, confident)
        return values

    def perturbation(self, fused: Tensor, lifted: Tensor, confident: Tensor) -> Tensor:
        """The perturbation r of every pixel, of length ``eps``, down the density of the features.

        Args:
            fused: (N, C_f, h, w) decoder input v.
            lifted: (N, C, h, w), W1 v + b1, reused from the clean pass.
            confident: (N, h, w) bool, the pixels whose log-density is descended.

        Returns:
            (N, C_f, h, w), without a graph.
        """
        stages = self._networks.stages
        if self.direction == 'random':
            return random_direction(fused, self.eps)
        return density_descending_direction(
            lifted.detach(),
            lambda u: stages.features(u, (0, len(u))),
            self.density,
            confident,
            stages.lift_transpose,
            self.eps,
        )

    @torch.no_grad()
    def _density_drop(
        self, lifted: Tensor, moved: Tensor, confident: Tensor, count: int = 4096
    ) -> Tensor:
        """Mean log-density lost by the move, in nats, over at most ``count`` confident pixels.

        Features before and after have passed the same norms; the clean features of the step would add the difference
        between the norms.
        """
        stages = self._networks.stages
        # separate draws: how often metrics are logged must not change the run
        device = lifted.device
        with torch.random.fork_rng([device] if device.type == 'cuda' else []):
            clean = stages.features(lifted, (0, len(lifted)))
            index, inside = draw_pixels(confident, count)
        drop = self.density.log_prob(rows_at(clean, index)) - self.density.log_prob(
            rows_at(moved, index)
        )
        return (drop * inside).sum() / inside.sum().clamp(min=1)

    @torch.no_grad()
    def _keep_samples(self, views: StepViews) -> None:
        """Draws this step's features for the flow: bounded, detached, float32."""
        features_l, features_u = views.teacher.labeled.features, views.teacher.weak.features
        labels_l = nearest(views.batch.label_l, features_l.shape[2:])
        valid_u = nearest(views.batch.unlabeled.valid_u, features_u.shape[2:])
        components = torch.cat(
            [
                labels_l.masked_fill(labels_l == IGNORE, IGNORED),
                torch.full_like(valid_u, UNLABELED, dtype=torch.long).masked_fill(
                    ~valid_u, IGNORED
                ),
            ]
        )
        index, _ = draw_pixels(components != IGNORED, self.samples)
        features = rows_of(features_l, features_u)(index)
        self._kept = features.float(), components.flatten()[index]

    def estimator_loss(self) -> Tensor | None:
        """Negative log-likelihood of the kept samples with input noise; None before ``density_start``."""
        if self._kept is None:
            return None
        (x, components), self._kept = self._kept, None
        nll = self.density.nll(x + self.noise * torch.randn_like(x), components)
        self.nll.copy_(nll.detach())
        return nll

    def get_estimator(self) -> MixtureDensity:
        """The module that ``FlowEstimatorHook`` fits."""
        return self.density
