"""The seven perturbations of CCT as registered modules, for any objective and any head.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005. ``draw`` gives K perturbations for K
decoders. A call of the module gives one perturbed copy of the features.
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
    """Base of perturbations of features; a subclass defines :meth:`draw`.

    The gradient flows through the features.

    Example:
        >>> import torch
        >>> class HalveFeatures(FeaturePerturbation):  # a perturbation for any objective
        ...     def draw(self, z, guidance, count):
        ...         return ChannelFactor(z.new_full((len(z), count, z.shape[1]), 0.5))
        >>> guidance = Guidance(torch.randn(2, 3, 32, 32), torch.Generator())
        >>> HalveFeatures()(torch.ones(2, 8, 4, 4), guidance).unique()
        tensor([0.5000])
    """

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        """Draw perturbations for K decoders.

        Args:
            z: (N, C, h, w) features.
            guidance: Prediction and generator of the step.
            count: Number of decoders K.
        """
        raise NotImplementedError

    def forward(self, z: Tensor, guidance: Guidance) -> Tensor:
        """Return one perturbed copy of z."""
        return self.draw(z, guidance, 1).apply(z, 0)

    def _check(self, valid: bool, expected: str, **values) -> None:
        if not valid:
            found = ', '.join(f'{key}={value}' for key, value in values.items())
            raise SetupError(f'{type(self).__name__}: {found}; expected {expected}')


def build_perturbation(config: dict, key: str) -> FeaturePerturbation:
    """Build a registered perturbation from its config.

    Args:
        config: Config with ``type`` and the arguments.
        key: Config key, for the error.

    Raises:
        SetupError: If the registered type is no perturbation of features.

    Example:
        >>> module = build_perturbation(dict(type='FeatureNoise', uniform_range=0.1), 'cct')
        >>> module.uniform_range
        0.1
    """
    module = MODELS.build(config)
    if not isinstance(module, FeaturePerturbation):
        known = [subclass.__name__ for subclass in FeaturePerturbation.__subclasses__()]
        raise SetupError(
            f"{key}: type='{config['type']}' perturbs no features; expected one of {known}"
        )
    return module


@MODELS.register_module()
class FeatureNoise(FeaturePerturbation):
    """F-Noise: multiply every entry by 1 + n, see ``feature_noise`` in ``features.py``.

    Args:
        uniform_range: Largest relative change, in [0, 1] (0.3).

    Raises:
        SetupError: If the value is out of range.

    Example:
        >>> import torch
        >>> guidance = Guidance(torch.randn(2, 3, 32, 32), torch.Generator())
        >>> z = FeatureNoise(uniform_range=0.3)(torch.ones(2, 8, 4, 4), guidance)
        >>> ((z >= 0.7) & (z <= 1.3)).all().item()
        True
    """

    def __init__(self, uniform_range: float = 0.3) -> None:
        super().__init__()
        self._check(0 <= uniform_range <= 1, 'a number in [0, 1]', uniform_range=uniform_range)
        self.uniform_range = uniform_range

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return feature_noise(count, guidance.generator, self.uniform_range)


@MODELS.register_module()
class FeatureDrop(FeaturePerturbation):
    """F-Drop: set the most active cells to 0, see ``feature_drop`` in ``features.py``.

    Args:
        low, high: Range of gamma; 0.7 and 0.9 in the released code, 0.6 and 0.9 on the authors'
            poster.

    Raises:
        SetupError: If the range is empty or negative.

    Example:
        >>> import torch
        >>> guidance = Guidance(torch.randn(2, 3, 32, 32), torch.Generator())
        >>> z = FeatureDrop()(torch.rand(2, 8, 4, 4), guidance)
        >>> (z.amax(dim=1) == 0).flatten(1).any(dim=1)
        tensor([True, True])
    """

    def __init__(self, low: float = 0.7, high: float = 0.9) -> None:
        super().__init__()
        self._check(0 <= low <= high, '0 <= low <= high', low=low, high=high)
        self.low, self.high = low, high

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return feature_drop(z, count, guidance.generator, self.low, self.high)


@MODELS.register_module()
class FeatureDropout(FeaturePerturbation):
    """DropOut of the features, in training only.

    Args:
        p: Probability in [0, 1) (0.5).
        spatial: Whether to drop complete channels (the released setting) or single entries.

    Raises:
        SetupError: If the probability is out of range.

    Example:
        >>> import torch
        >>> guidance = Guidance(torch.randn(2, 3, 32, 32), torch.Generator())
        >>> z = FeatureDropout(p=0.5)(torch.ones(2, 64, 4, 4), guidance)
        >>> z.unique(), (z == z[:, :, :1, :1]).all().item()  # complete channels
        (tensor([0., 2.]), True)
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
    """Con-Msk: set everything but the predicted objects to 0.

    Example:
        >>> import torch
        >>> guidance = Guidance(torch.randn(2, 3, 32, 32), torch.Generator())
        >>> z = torch.rand(2, 8, 4, 4)
        >>> torch.equal(ContextMask()(z, guidance) + ObjectMask()(z, guidance), z)
        True
    """

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return SpatialMask(guidance.foreground_cells(*z.shape[2:])[:, None])


@MODELS.register_module()
class ObjectMask(FeaturePerturbation):
    """Obj-Msk: set the predicted objects to 0.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 3, 32, 32)
        >>> logits[:, 1, :, :16] = 1.0  # an object fills the left half
        >>> guidance = Guidance(logits, torch.Generator())
        >>> ObjectMask()(torch.ones(2, 8, 4, 4), guidance)[0, 0, 0]
        tensor([0., 0., 1., 1.])
    """

    def draw(self, z: Tensor, guidance: Guidance, count: int) -> Draw:
        return SpatialMask(~guidance.foreground_cells(*z.shape[2:])[:, None])


@MODELS.register_module()
class GuidedCutout(FeaturePerturbation):
    """G-Cutout: erase a rectangle in the box of each object, see ``cut_boxes`` in ``guided.py``.

    Args:
        erase_side: Side of the rectangle over that of the box, in [0, 1]; 0.4 erases 16 % of the
            box.
        min_vertices: Objects stay if their outline has this many vertices or fewer (50).

    Raises:
        SetupError: If a value is out of range.

    Example:
        >>> import torch
        >>> y, x = torch.arange(64)[:, None], torch.arange(64)
        >>> disc = ((y - 31) ** 2 + (x - 31) ** 2 <= 25**2).float()
        >>> guidance = Guidance(torch.stack([1 - disc, disc])[None], torch.Generator())
        >>> (GuidedCutout()(torch.ones(1, 8, 64, 64), guidance)[0, 0] == 0).sum().item()
        400
    """

    def __init__(self, erase_side: float = 0.4, min_vertices: int = 50) -> None:
        super().__init__()
        self._check(
            0 <= erase_side <= 1 and min_vertices >= 0,
            'erase_side in [0, 1] and min_vertices >= 0',
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
    """I-VAT: move the features to where the decoder's prediction changes most.

    See ``adversarial.py`` for the formula and for the released values.

    Args:
        xi: Length of the step at which the gradient is taken (0.1; 1e-6 in the released code).
        eps: Length of the perturbation of an image (2).
        steps: Number of power iterations (1).
        guard: Number added to the gradient's norm (0; 1e-8 in the released code).
        relative: Whether ``eps`` is a share of the length of the image's features.

    Raises:
        SetupError: If a value is out of range; from a call, if the guidance has no decoder.

    Example:
        >>> import torch
        >>> z, decode = torch.rand(2, 16, 4, 4), nn.Conv2d(16, 3, 1)
        >>> guidance = Guidance(decode(z), torch.Generator(), decode=decode)
        >>> (VirtualAdversarial(eps=2.0)(z, guidance) - z).flatten(1).norm(dim=1).round(decimals=3)
        tensor([2., 2.])
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

    def draw_against(
        self, z: Tensor, guidance: Guidance, weight: Tensor, tail, parts, parameters=()
    ) -> Draw:
        """Draw for K pointwise decoders by :func:`class_space_perturbation`.

        Args:
            z: (N, C, h, w) features.
            guidance: Generator of the step.
            weight: (K, O, C), first layers of the decoders.
            tail: Other layers of the decoders.
            parts: Parts that are computed at one time.
            parameters: Parameters of the other layers.
        """
        seeds = draw_seeds(len(weight), guidance.generator)
        return class_space_perturbation(z, weight, tail, seeds, parts, parameters, **self.settings)

    def forward(self, z: Tensor, guidance: Guidance) -> Tensor:
        if guidance.decode is None:
            raise SetupError(
                'VirtualAdversarial needs the decoder whose prediction it changes: pass it as '
                'Guidance(..., decode=...)'
            )
        generator = seeded(draw_seeds(1, guidance.generator)[0], z.device)
        return z + virtual_adversarial_perturbation(
            guidance.decode, z, generator, **self.settings
        ).to(z.dtype)
