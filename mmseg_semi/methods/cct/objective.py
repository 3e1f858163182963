"""CCT: cross-consistency training.

Y. Ouali, C. Hudelot, M. Tami, "Semi-Supervised Semantic Segmentation with Cross-Consistency Training", CVPR 2020,
arXiv 2003.09005; behaviour checked against github.com/yassouali/CCT (65d4e5b).

The code follows the paper's figure. Unlabelled images pass the encoder. The main decoder's prediction on the clean features,
without a graph, is the target. Each of K auxiliary decoders, with separate weights, sees features that one of seven
perturbations has changed, and must reproduce the target. Labels train encoder and main decoder. This loss trains auxiliary
decoders and encoder, and never the main decoder. There is no teacher; the auxiliary decoders are not deployed.

The plain form makes K perturbed copies of the features and K full-size predictions. Decoders are pointwise and begin with a
linear layer, so K products with a few classes, in chunks of cells, give the same numbers (``perturbations/draws.py``,
``consistency.py``).

Differences from the released code: padding is not compared; all distances have one normaliser, with and without a mask;
there is one adversarial direction (``perturbations/adversarial.py``); masks of objects and their outlines are found once a
step.
``configs/cct/reference`` has the switches for the rest.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct.consistency import Term, cell_chunks, decoder_sums, find_distance
from mmseg_semi.methods.cct.perturbations.guided import Guidance
from mmseg_semi.methods.cct.perturbations.modules import VirtualAdversarial, build_perturbation
from mmseg_semi.methods.cct.pixel_shuffle import DecoderStack, check_decoder, unshuffle
from mmseg_semi.step.losses import check_divisor
from mmseg_semi.step.networks import Networks
from mmseg_semi.step.objective import Needs, Objective, check_background, share
from mmseg_semi.step.views import StepViews

PUBLISHED = (
    dict(type='VirtualAdversarial', count=2),
    dict(type='FeatureDropout', count=6),
    dict(type='GuidedCutout', count=6),
    dict(type='ContextMask', count=2),
    dict(type='ObjectMask', count=2),
    dict(type='FeatureDrop', count=6),
    dict(type='FeatureNoise', count=6),
)
"""The thirty auxiliary decoders of the released configuration."""

SCORES_AT_A_TIME = {'cpu': 2**19, 'cuda': 2**23}
"""Scores computed at a time: what stays in a CPU's cache; what keeps a GPU busy, 32 MiB in float32."""


@MODELS.register_module()
class CCTObjective(Objective):
    """Consistency of auxiliary decoders on perturbed features with the main decoder on clean ones.

    Works with every head: z is the output of its first stage (``CCTHead``: of the pyramid; heads of MMSegmentation: the
    input of their classifier), the target its prediction. The auxiliary decoders bring z to the resolution of the target.

    Args:
        weight: A number or a schedule. Published: 30 with a sigmoid ramp over the first tenth of the run.
        perturbations: Configs of registered perturbations, each with ``count``, its number of decoders (1); None:
            :data:`PUBLISHED`.
        distance: 'mse', 'kl', 'js', or 'js_reversed' (what the released code calls JS); see
            ``mmseg_semi/methods/cct/consistency.py``.
        confidence: Compare only pixels whose target has a class above this probability; None: all.
        divisor: What a sum over pixels is divided by, besides the number of classes: 'valid' (the number of unpadded
            pixels), or 'confident' (the number of compared ones; the released MSE under its mask).
        compare_padding: Compare padded pixels as well, as the released code does.
        background_classes: Classes that count as no object, for the perturbations guided by objects.
        upscale: Upsampling factor of the auxiliary decoders, a power of two; None: that of the main decoder.
        final_act: 'relu' or None, last operation of the auxiliary decoders.
        bias_init: 'replicate' or 'uniform', see :class:`~mmseg_semi.methods.cct.pixel_shuffle.PixelShuffleDecoder`.
        chunk: Scores computed at a time; None: by the device.
        name: Prefix in the log.

    Logs on the log's iterations each type's mean distance (``cct.<type>``), ``winning``, the number of classes that this
    step's targets predict somewhere, and with ``confidence`` ``confident``, the share of pixels that are compared.

    State: ``decoders.<i>.*``, a :class:`~mmseg_semi.methods.cct.pixel_shuffle.DecoderStack` for each entry of ``perturbations``.

    Raises:
        SetupError: A value out of range; a class that the student does not have (from :meth:`bind`).
    """

    all_needs = Needs(weak_features=True)

    def __init__(
        self,
        weight: float | dict = 30.0,
        perturbations: Sequence[dict] | None = None,
        distance: str = 'mse',
        confidence: float | None = None,
        divisor: str = 'valid',
        compare_padding: bool = False,
        background_classes: Sequence[int] = (0,),
        upscale: int | None = None,
        final_act: str | None = 'relu',
        bias_init: str = 'replicate',
        chunk: int | None = None,
        name: str = 'cct',
    ) -> None:
        super().__init__(weight, name)
        check_decoder(1 if upscale is None else upscale, final_act, bias_init, name)
        if confidence is not None and not 0 <= confidence < 1:
            raise SetupError(f'{name}.confidence={confidence}: expected a probability in [0, 1)')
        if chunk is not None and chunk < 1:
            raise SetupError(f'{name}.chunk={chunk}: expected a number of scores >= 1, or None')
        self.distance = find_distance(distance, f'{name}.distance')
        self.confidence = confidence
        self.divisor = check_divisor(divisor, name)
        self.compare_padding = compare_padding
        self.background_classes = tuple(background_classes)
        self.upscale, self.chunk = upscale, chunk
        self.decoder_settings = dict(final_act=final_act, bias_init=bias_init)
        configs = [dict(config) for config in PUBLISHED if perturbations is None]
        configs += [dict(config) for config in perturbations or ()]
        self.counts = [config.pop('count', 1) for config in configs]
        if not configs or any(not isinstance(n, int) or n < 1 for n in self.counts):
            raise SetupError(
                f'{name}.perturbations: counts {self.counts}; expected at least one perturbation, each with a count >= 1'
            )
        key = f'{name}.perturbations'
        self.perturbations = nn.ModuleList(build_perturbation(config, key) for config in configs)

    def bind(self, networks: Networks) -> None:
        head = networks.student.decode_head
        check_background(self.background_classes, networks.num_classes, self.name)
        settings = dict(
            in_channels=getattr(head, 'fused_channels', head.conv_seg.in_channels),
            num_classes=networks.num_classes,
            upscale=self.upscale or getattr(head, 'upscale', 1),
            **self.decoder_settings,
        )
        self.decoders = nn.ModuleList(DecoderStack(count, **settings) for count in self.counts)

    def compute(self, views: StepViews) -> dict[str, Tensor]:
        compared = self._compared(views)
        target, counted = self.target(views, compared)
        sums = [own[0] for own in self.sums(views, [Term(self.distance, target, counted)])]
        return self.consistency(views, sums, target, compared, counted)

    def sums(self, views: StepViews, terms: Sequence[Term]) -> list[Tensor]:
        """Sums over pixels of T terms of the loss, for the K_i decoders of each perturbation: (T, K_i) a perturbation."""
        kind = views.student.weak.fused.device.type
        chunk = self.chunk or SCORES_AT_A_TIME.get(kind, SCORES_AT_A_TIME['cuda'])
        return [
            decoder_sums(lifted, decoders.levels, decoders.tail, terms, chunk)
            for lifted, decoders in zip(self.lifted(views, chunk), self.decoders, strict=True)
        ]

    def consistency(
        self,
        views: StepViews,
        sums: Sequence[Tensor],
        target: Tensor,
        compared: Tensor,
        counted: Tensor,
    ) -> dict[str, Tensor]:
        """Loss and metrics from the sums of distances of each perturbation's decoders, (K_i,) each."""
        pixels = (counted if self.divisor == 'confident' else compared).sum()
        entries = target.shape[1] * pixels.clamp(min=1)
        values = {'loss': torch.cat(sums).sum() / (sum(self.counts) * entries)}
        if views.batch.monitor:
            kinds: dict[str, list[Tensor]] = {}
            for module, own in zip(self.perturbations, sums, strict=True):
                kinds.setdefault(type(module).__name__, []).append(own.detach())
            values |= {kind: torch.cat(own).mean() / entries for kind, own in kinds.items()}
            values['winning'] = self._winning(target)
            if self.confidence is not None:
                values['confident'] = share(counted, compared)
        return values

    @torch.no_grad()
    def target(self, views: StepViews, compared: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoders must reproduce, and where: without a graph, in the order of :func:`unshuffle`.

        Args:
            compared: (N, S, h w) bool, from :meth:`_compared`.

        Returns:
            q: (N, C, S, h w), the main decoder's probabilities on the clean features.
            counted: (N, S, h w) bool, the pixels that are compared.
        """
        logits = views.student.weak.logits
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        size = self._target_size(views)
        if logits.shape[2:] != size:
            logits = F.interpolate(logits, size, mode='bilinear')
        target = unshuffle(logits.softmax(dim=1), self.decoders[0].num_levels)
        if self.confidence is None:
            return target, compared
        return target, compared & (target.amax(dim=1) > self.confidence)

    def lifted(self, views: StepViews, chunk: int) -> list[Tensor]:
        """The first layers of each perturbation's decoders on the perturbed features, (N, K_i, C, h w) each."""
        z = views.student.weak.fused
        guidance = Guidance(
            views.student.weak.logits,
            views.batch.generator,
            tuple(views.batch.unlabeled.valid_u.shape[1:]),
            self.background_classes,
        )
        lifted = []
        for module, decoders in zip(self.perturbations, self.decoders, strict=True):
            draw = self.draw(module, decoders, z, guidance, chunk)
            lifted.append(draw.project(z, decoders.project))
        return lifted

    def draw(self, module: nn.Module, decoders: DecoderStack, z: Tensor, guidance: Guidance, chunk):
        """One draw of a perturbation for all of its decoders, on which the adversarial one depends."""
        if not isinstance(module, VirtualAdversarial):
            return module.draw(z, guidance, len(decoders))
        scores = decoders.project.shape[1] * 4**decoders.num_levels * len(decoders)
        parts = cell_chunks(len(z), z.shape[2] * z.shape[3], scores, chunk)
        return module.draw_against(
            z, guidance, decoders.project, decoders.tail, parts, decoders.levels
        )

    # -- sizes -----------------------------------------------------------------------------------

    def _target_size(self, views: StepViews) -> tuple[int, int]:
        side = 2 ** self.decoders[0].num_levels
        height, width = views.student.weak.fused.shape[2:]
        return side * height, side * width

    def _compared(self, views: StepViews) -> Tensor:
        """(N, S, h w) bool: unpadded pixels of the image, in the order of :func:`unshuffle`."""
        return self.on_grid(views, views.batch.unlabeled.valid_u | self.compare_padding, False)

    def on_grid(self, views: StepViews, pixels: Tensor, outside: int | bool) -> Tensor:
        """A map of the images, (N, H, W), as (N, S, h w): in the order of :func:`unshuffle`, ``outside`` beyond the image."""
        size, levels = self._target_size(views), self.decoders[0].num_levels
        over = [a - b for a, b in zip(size, pixels.shape[1:], strict=True)]
        if all(0 <= extent < 2**levels for extent in over):
            # the grid reaches over the image by less than a cell
            pixels = F.pad(pixels, (0, over[1], 0, over[0]), value=outside)
        else:
            nearest = F.interpolate(pixels[:, None].float(), size, mode='nearest')[:, 0]
            pixels = nearest.to(pixels.dtype)
        return unshuffle(pixels[:, None], levels)[:, 0]

    @staticmethod
    def _winning(target: Tensor) -> Tensor:
        classes = target.shape[1]
        winners = target.argmax(dim=1).flatten()
        won = torch.zeros(classes, device=target.device).index_fill_(0, winners, 1.0)
        return won.sum()
