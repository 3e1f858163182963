"""The seven perturbations of CCT as registered modules, for any objective and any head.

``draw`` gives K perturbations for K decoders; calling the module gives one perturbed copy of the features.
"""

from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct.perturbations.adversarial import (
    class_space_perturbation,
    virtual_adversarial_perturbation,
)
from mmseg_semi.methods.cct.perturbations.draws import ChannelFactor, Draw, SpatialMask, seeded
from mmseg_semi.methods.cct.perturbations.features import (
    channel_dropout,
    draw_seeds,
    element_dropout,
    feature_drop,
    feature_noise,
)
from mmseg_semi.methods.cct.perturbations.guided import Guidance, cut_boxes


class FeaturePerturbation(nn.Module):
    """Base: perturbs features z, (N, C, h, w), of which the gradient flows on."""

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        """One draw for ``count`` decoders."""
        raise NotImplementedError

    def forward(self, z: Tensor, guidance: Guidance) -> Tensor:
        """One perturbed copy of z."""
        return self.draw(z, guidance, 1).apply(z, 0)

    def _check(self, right: bool, expected: str, **values) -> None:
        if not right:
            found = ', '.join(f'{key}={value}' for key, value in values.items())
            raise SetupError(f'{type(self).__name__}: {found}; expected {expected}')


def build_perturbation(config: dict, key: str) -> FeaturePerturbation:
    """The registered perturbation of a config.

    Raises:
        SetupError: What is registered by this name is none; the sentence names ``key``.
    """
    module = MODELS.build(config)
    if not isinstance(module, FeaturePerturbation):
        known = [own.__name__ for own in FeaturePerturbation.__subclasses__()]
        raise SetupError(
            f"{key}: type='{config['type']}' perturbs no features; expected one of {known}"
        )
    return module


@MODELS.register_module()
class FeatureNoise(FeaturePerturbation):
    """F-Noise, see :func:`~mmseg_semi.methods.cct.perturbations.features.feature_noise`.

    Args:
        uniform_range: Largest relative change, in [0, 1].
    """

    def __init__(self, uniform_range: float = 0.3) -> None:
        super().__init__()
        self._check(0 <= uniform_range <= 1, 'a share in [0, 1]', uniform_range=uniform_range)
        self.uniform_range = uniform_range

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return feature_noise(count, guidance.generator, self.uniform_range)


@MODELS.register_module()
class FeatureDrop(FeaturePerturbation):
    """F-Drop, see :func:`~mmseg_semi.methods.cct.perturbations.features.feature_drop`.

    Args:
        low, high: Range of gamma; 0.7 and 0.9 in the released code, 0.6 and 0.9 on the authors' poster.
    """

    def __init__(self, low: float = 0.7, high: float = 0.9) -> None:
        super().__init__()
        self._check(0 <= low <= high, '0 <= low <= high', low=low, high=high)
        self.low, self.high = low, high

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return feature_drop(z, count, guidance.generator, self.low, self.high)


@MODELS.register_module()
class FeatureDropout(FeaturePerturbation):
    """DropOut of the features, only in training.

    Args:
        p: Probability in [0, 1).
        spatial: Drop whole channels; False drops single entries.
    """

    def __init__(self, p: float = 0.5, spatial: bool = True) -> None:
        super().__init__()
        self._check(0 <= p < 1, 'a probability in [0, 1)', p=p)
        self.p, self.spatial = p, spatial

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        if not self.training:
            return ChannelFactor(z.new_ones(len(z), count, z.shape[1]))
        if self.spatial:
            return channel_dropout(z, count, guidance.generator, self.p)
        return element_dropout(count, guidance.generator, self.p)


@MODELS.register_module()
class ContextMask(FeaturePerturbation):
    """Con-Msk: everything but the objects is hidden."""

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return SpatialMask(guidance.foreground_cells(*z.shape[2:])[:, None])


@MODELS.register_module()
class ObjectMask(FeaturePerturbation):
    """Obj-Msk: the objects are hidden."""

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return SpatialMask(~guidance.foreground_cells(*z.shape[2:])[:, None])


@MODELS.register_module()
class GuidedCutout(FeaturePerturbation):
    """G-Cutout, see :func:`~mmseg_semi.methods.cct.perturbations.guided.cut_boxes`.

    Args:
        erase_side: Side of the erased rectangle over that of the object's box, in [0, 1]; 0.4 erases 16 % of the box.
        min_vertices: Objects with an outline of so many vertices or fewer are left alone.
    """

    def __init__(self, erase_side: float = 0.4, min_vertices: int = 50) -> None:
        super().__init__()
        self._check(
            0 <= erase_side <= 1 and min_vertices >= 0,
            'a share in [0, 1] and a number >= 0',
            erase_side=erase_side,
            min_vertices=min_vertices,
        )
        self.erase_side, self.min_vertices = erase_side, min_vertices

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return cut_boxes(
            guidance.boxes(self.min_vertices),
            count,
            tuple(guidance.foreground.shape[1:]),
            (len(z), *z.shape[2:]),
            guidance.generator,
            self.erase_side,
            z.device,
        )


@MODELS.register_module()
class VirtualAdversarial(FeaturePerturbation):
    """I-VAT, see :mod:`mmseg_semi.methods.cct.perturbations.adversarial`.

    Args:
        xi: Length of the probing step; 1e-6 in the released code, see there.
        eps: Length of the perturbation of an image.
        steps: Power iterations.
        guard: Added to the gradient's norm; 1e-8 in the released code.
        relative: ``eps`` is a share of the length of the image's features.
    """

    def __init__(
        self,
        xi: float = 0.1,
        eps: float = 2.0,
        steps: int = 1,
        guard: float = 0.0,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self._check(
            xi > 0 and eps >= 0 and steps >= 1 and guard >= 0,
            'xi > 0, eps >= 0, steps >= 1 and guard >= 0',
            xi=xi,
            eps=eps,
            steps=steps,
            guard=guard,
        )
        self.settings = dict(xi=xi, eps=eps, steps=steps, guard=guard, relative=relative)

    def draw_against(self, z: Tensor, guidance: Guidance, weight: Tensor, tail, parts) -> Draw:
        """One draw for K pointwise decoders, see :func:`class_space_perturbation` for the last three arguments."""
        seeds = draw_seeds(len(weight), guidance.generator)
        return class_space_perturbation(z, weight, tail, seeds, parts, **self.settings)

    def forward(self, z: Tensor, guidance: Guidance) -> Tensor:
        if guidance.decode is None:
            raise SetupError(
                'VirtualAdversarial needs the decoder that it is to disturb: Guidance(decode=...)'
            )
        generator = seeded(draw_seeds(1, guidance.generator)[0], z.device)
        return z + virtual_adversarial_perturbation(
            guidance.decode, z, generator, **self.settings
        ).to(z.dtype)
