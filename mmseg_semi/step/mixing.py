"""Mixing of unlabelled images: CutMix, ClassMix and CutOut on batches, and CutMix and ClassMix with labelled images.

What a mixing takes from where stands in :mod:`mmseg_semi.step.mixing_pixels`.
"""

import bisect
import itertools
import math
from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.data.colour.after_mixing import OPERATIONS, colour_jitter, gaussian_blur
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.mixing_pixels import (
    Labeled,
    Mixed,
    box_masks,
    class_masks,
    cut_out,
    draw_free_box,
    mix,
    paste_labeled,
)
from mmseg_semi.step.networks import agreed_num_classes
from mmseg_semi.step.views import PseudoLabels


class Mixing(nn.Module):
    """Base class of mixings, which make the student's view from the strong view of the unlabelled images.

    A subclass implements :meth:`forward`, or :meth:`apply_to` if one draw a batch decides whether it mixes.
    """

    needs_certainty = False
    """If True, a step calls the mixing with the keyword ``certainty``, (N,) float32 in [0, 1] of the images
    (:func:`mmseg_semi.step.pseudo_labels.image_certainty`)."""
    needs_labeled = False
    """If True, a step calls the mixing with the keyword ``labeled``, the labelled images of the batch and their labels
    (:data:`Labeled`); labelled and unlabelled crops then have equal sizes."""

    def bind(self, num_classes: int, key: str = 'model.mixing') -> None:
        """Takes the student's number of classes.

        Args:
            num_classes: K.
            key: Key of this mixing's config, for errors.

        Raises:
            SetupError: The config says another number.
        """

    def forward(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        """Mixes a batch.

        Args:
            images: (N, 3, H, W), the strong view, normalised.
            pseudo: Pseudo-labels of the images.
            valid: (N, H, W) bool, False in padding.
            generator: CPU generator, for every draw.

        A mixing with ``needs_labeled`` has another argument, ``labeled``: see :data:`Labeled`; one with ``needs_certainty``
        has ``certainty``.

        Returns:
            Images, pseudo-labels and validity of the mixed view.
        """
        raise NotImplementedError


def mixing_keywords(mixing: Mixing, **given: Labeled | Tensor | None) -> dict:
    """Of the keyword arguments ``labeled`` and ``certainty`` those that a mixing needs.

    Raises:
        SetupError: The mixing needs one of them, but it is not given.

    Example:
        >>> mixing_keywords(CutMix(), labeled=(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2)))
        {}
    """
    needed = [name for name in ('labeled', 'certainty') if getattr(mixing, f'needs_{name}')]
    for name in needed:
        if given.get(name) is None:
            raise SetupError(
                f'{type(mixing).__name__} mixes {_KEYWORDS[name]}, but was called without: a wrapper around it must '
                f'set needs_{name}=True and hand on the keyword `{name}`'
            )
    return {name: given[name] for name in needed}


_KEYWORDS = {'labeled': 'with labelled images', 'certainty': "by the teacher's certainty"}


def check_mixing(module: nn.Module, key: str) -> None:
    """Raises SetupError unless the module is a Mixing."""
    if not isinstance(module, Mixing):
        raise SetupError(
            f'{key} is {type(module).__name__}, which is no mixing: make it a subclass of mmseg_semi.step.mixing.Mixing, '
            'with forward(images, pseudo, valid, generator)'
        )


class RandomMixing(Mixing):
    """Base class of mixings that mix a batch with probability ``prob``, by one draw, and else keep it.

    Args:
        prob: In [0, 1].
    """

    def __init__(self, prob: float) -> None:
        super().__init__()
        if not 0 <= prob <= 1:
            raise SetupError(f'mixing.prob={prob}: expected a probability in [0, 1]')
        self.prob = prob

    def forward(
        self,
        images: Tensor,
        pseudo: PseudoLabels,
        valid: Tensor,
        generator: torch.Generator,
        **given: Labeled | Tensor,
    ) -> Mixed:
        """See :class:`Mixing`; ``given`` are the keyword arguments of a mixing that needs some."""
        if float(torch.rand((), generator=generator)) >= self.prob:
            return images, pseudo, valid
        extra = mixing_keywords(self, **given)
        return self.apply_to(images, pseudo, valid, generator, **extra)

    def apply_to(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        """Mixes a batch; arguments and result are those of ``forward``, with ``labeled`` and ``certainty`` if it needs them."""
        raise NotImplementedError


def _check_area(area: float) -> float:
    if not 0 < area < 1:
        raise SetupError(f'mixing.area={area}: expected a share of the image in (0, 1)')
    return area


@MODELS.register_module()
class CutMix(RandomMixing):
    """Takes a box of image i from image (i + 1) mod N.

    With the defaults one coin a batch decides, and every box covers half of its image (DDFP, DGCL, U2PL). UniMatch's is
    ``CutMix(prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), coin='image')``.

    Args:
        prob: Probability that the batch, or the image, is mixed (0.5).
        area: Share of the image that the box covers, in (0, 1) (0.5), or a range of it up to 0.8.
        aspect: Range of the box's height over its width, in units of the image's own, see :func:`draw_free_box`; it goes
            with a range of ``area``. None: any width, see :func:`draw_box`.
        coin: 'batch', one draw decides for all images, or 'image', one for each.

    Raises:
        SetupError: A value out of range, or a range of one of ``area`` and ``aspect`` without the other.

    Example:
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> mixed, _, _ = CutMix(prob=1.0)(images, pseudo, valid, torch.Generator().manual_seed(0))
        >>> ((mixed == images) | (mixed == images.flip(0))).all().item()  # every pixel is of one image
        True
    """

    def __init__(
        self,
        prob: float = 0.5,
        area: float | tuple[float, float] = 0.5,
        aspect: tuple[float, float] | None = None,
        coin: str = 'batch',
    ) -> None:
        super().__init__(prob)
        if coin not in ('batch', 'image'):
            raise SetupError(f"mixing.coin='{coin}': expected 'batch' or 'image'")
        if (aspect is None) != isinstance(area, int | float):
            raise SetupError(
                f'mixing: area={area}, aspect={aspect}; expected one share and no aspect, or a range of each, such as '
                'area=(0.02, 0.4), aspect=(0.3, 1 / 0.3)'
            )
        if aspect is None:
            self.area: float | tuple[float, float] = _check_area(area)
        else:
            low, high = map(_check_area, area)
            # a larger box has so few places that it would be drawn thousands of times
            if not low <= high <= 0.8 or not 0 < aspect[0] <= 1 <= aspect[1]:
                raise SetupError(
                    f'mixing: area={tuple(area)}, aspect={tuple(aspect)}; expected two ranges, of shares up to 0.8 and around 1'
                )
            self.area = (low, high)
        self.aspect = aspect if aspect is None else tuple(aspect)
        self.coin = coin

    def forward(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        """See :class:`Mixing`."""
        if self.coin == 'batch':
            return super().forward(images, pseudo, valid, generator)
        chosen = torch.rand(len(images), generator=generator) < self.prob
        keep = self._masks(images, generator) | ~chosen[:, None, None]
        return mix(keep.to(images.device), images, pseudo, valid)

    def apply_to(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        keep = self._masks(images, generator).to(images.device)
        return mix(keep, images, pseudo, valid)

    def _masks(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(N, H, W) bool on the CPU: True outside the box of each image."""
        count, _, height, width = images.shape
        if self.aspect is None:
            return box_masks(count, height, width, self.area, generator)
        keep = torch.ones(count, height, width, dtype=torch.bool)
        for mask in keep:
            box = draw_free_box(height, width, self.area, self.aspect, generator)
            mask[box[0] : box[2], box[1] : box[3]] = False
        return keep


@MODELS.register_module()
class AdaptiveCutMix(RandomMixing):
    """Pastes boxes of labelled images into those that the teacher is uncertain of, then boxes of the images into each other.

    AugSeg's label-injecting CutMix (CVPR 2023, arXiv 2212.04976). Image i of certainty rho_i gets, with probability
    1 - rho_i, a box of labelled image i mod N_l with its true labels, see :func:`paste_labeled`; void pixels are not pasted.
    Then every image gets a box of image (i + 1) mod N, see :class:`CutMix`.

    Args:
        prob: Probability that the batch is mixed (0.5).
        area: Share of the image that each box covers, in (0, 1) (0.5).

    Raises:
        SetupError: A value out of range.

    Example:
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> extra = dict(labeled=(images + 9, labels + 1), certainty=torch.zeros(2))
        >>> AdaptiveCutMix(1.0)(images, pseudo, valid, torch.Generator(), **extra)[1].labels.unique().tolist()
        [0, 1]
    """

    needs_labeled = needs_certainty = True

    def __init__(self, prob: float = 0.5, area: float = 0.5) -> None:
        super().__init__(prob)
        self.area = _check_area(area)

    def apply_to(
        self,
        images: Tensor,
        pseudo: PseudoLabels,
        valid: Tensor,
        generator: torch.Generator,
        labeled: Labeled,
        certainty: Tensor,
    ) -> Mixed:
        count, _, height, width = images.shape
        device = images.device
        boxes, keep = (
            box_masks(count, height, width, self.area, generator).to(device) for _ in range(2)
        )
        uncertain = torch.rand(count, generator=generator).to(device) >= certainty
        images_l, labels_l = (x[torch.arange(count, device=device) % len(x)] for x in labeled)
        chosen = ~boxes & uncertain[:, None, None] & (labels_l != IGNORE)
        return mix(keep, *paste_labeled(chosen, images_l, labels_l, images, pseudo, valid))


SOURCES = ('unlabeled', 'labeled')


@MODELS.register_module()
class ClassMix(RandomMixing):
    """Pastes half of the classes of an image over another one.

    The source 'unlabeled' pastes half of the predicted classes of image i over image (i + 1) mod N (ClassMix,
    arXiv 2007.07936). The source 'labeled' pastes half of the classes of labelled image i mod N_l over image i, with their true
    labels (DACS, WACV 2021, arXiv 2007.08702): a class that the teacher never predicts is then part of the strong views all
    the same. See :func:`paste_labeled` for confidence, validity and noisy labels of these pixels. DACS jitters and blurs after
    mixing, see :class:`ColourAfterMixing`; without it, pasted pixels keep the colours of the labelled view.

    Args:
        num_classes: K; None takes the student's number.
        prob: Probability that the batch is mixed (1).
        source: 'unlabeled' or 'labeled', the images whose pixels are pasted.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 5, (2, 8, 8))
        >>> pseudo, valid = PseudoLabels(labels, torch.rand(2, 8, 8)), labels >= 0
        >>> mixed, _, _ = ClassMix(num_classes=5)(images, pseudo, valid, torch.Generator().manual_seed(0))
        >>> mixed.shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self, num_classes: int | None = None, prob: float = 1.0, source: str = 'unlabeled'
    ) -> None:
        super().__init__(prob)
        if num_classes is not None and num_classes < 1:
            raise SetupError(f'mixing.num_classes={num_classes}: expected the number of classes')
        if source not in SOURCES:
            raise SetupError(f"mixing.source='{source}': expected one of {SOURCES}")
        self.num_classes = num_classes
        self.needs_labeled = source == 'labeled'

    def bind(self, num_classes: int, key: str = 'model.mixing') -> None:
        self.num_classes = agreed_num_classes(self.num_classes, num_classes, key)

    def apply_to(
        self,
        images: Tensor,
        pseudo: PseudoLabels,
        valid: Tensor,
        generator: torch.Generator,
        labeled: Labeled | None = None,
    ) -> Mixed:
        if not self.needs_labeled:
            keep = class_masks(pseudo.labels, self.num_classes, generator)
            return mix(keep, images, pseudo, valid)
        images_l, labels_l = labeled
        index = torch.arange(len(images), device=images.device) % len(images_l)
        images_l, labels_l = images_l[index], labels_l[index]
        chosen = class_masks(labels_l, self.num_classes, generator)
        return paste_labeled(chosen, images_l, labels_l, images, pseudo, valid)


@MODELS.register_module()
class CutOut(RandomMixing):
    """Erases a box of every image, see :func:`cut_out` (arXiv 1708.04552).

    Args:
        prob: Probability that the batch is cut.
        area: Share of the image that the box covers, in (0, 1).

    Example:
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> _, _, kept = CutOut(prob=1.0)(images, pseudo, valid, torch.Generator().manual_seed(0))
        >>> kept.all().item()
        False
    """

    def __init__(self, prob: float = 0.5, area: float = 0.25) -> None:
        super().__init__(prob)
        self.area = _check_area(area)

    def apply_to(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        count, _, height, width = images.shape
        keep = box_masks(count, height, width, self.area, generator).to(images.device)
        return cut_out(keep, images, pseudo, valid)


@MODELS.register_module()
class MixingChoice(Mixing):
    """Mixes every batch by one of several mixings, which one draw a batch chooses.

    Args:
        mixings: Configs of mixings.
        probs: Probability of each, which sum to 1; None: all equal.
        num_classes: K; None takes the student's number.

    Raises:
        SetupError: No mixing, or probabilities that do not fit.

    Example:
        >>> mixing = MixingChoice([dict(type='CutMix', prob=1.0), dict(type='ClassMix')], probs=[0.5, 0.5], num_classes=5)
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 5, (2, 8, 8))
        >>> pseudo, valid = PseudoLabels(labels, torch.rand(2, 8, 8)), labels >= 0
        >>> mixing.bind(num_classes=5)
        >>> mixing(images, pseudo, valid, torch.Generator().manual_seed(0))[0].shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        mixings: Sequence[dict],
        probs: Sequence[float] | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        if not mixings:
            raise SetupError('mixing.mixings=[]: expected at least one config of a mixing')
        probs = [1 / len(mixings)] * len(mixings) if probs is None else [*probs]
        if len(probs) != len(mixings) or min(probs) < 0 or not math.isclose(sum(probs), 1):
            raise SetupError(
                f'mixing.probs={probs}: expected {len(mixings)} probabilities, one a mixing, that sum to 1'
            )
        self.num_classes = num_classes
        self.mixings = nn.ModuleList(MODELS.build(mixing) for mixing in mixings)
        for index, mixing in enumerate(self.mixings):
            check_mixing(mixing, f'model.mixing.mixings[{index}]')
        self.bounds = [*itertools.accumulate(probs)][:-1]
        self.needs_labeled = any(mixing.needs_labeled for mixing in self.mixings)
        self.needs_certainty = any(mixing.needs_certainty for mixing in self.mixings)

    def bind(self, num_classes: int, key: str = 'model.mixing') -> None:
        self.num_classes = agreed_num_classes(self.num_classes, num_classes, key)
        for index, mixing in enumerate(self.mixings):
            mixing.bind(num_classes, f'{key}.mixings[{index}]')

    def forward(
        self,
        images: Tensor,
        pseudo: PseudoLabels,
        valid: Tensor,
        generator: torch.Generator,
        **given: Labeled | Tensor,
    ) -> Mixed:
        """See :class:`Mixing`; ``given`` are the keyword arguments of a mixing that needs some."""
        # float64: a draw of float32 is below a bound of 0.1 with another probability than 0.1
        draw = float(torch.rand((), generator=generator, dtype=torch.float64))
        mixing = self.mixings[bisect.bisect_right(self.bounds, draw)]
        extra = mixing_keywords(mixing, **given)
        return mixing(images, pseudo, valid, generator, **extra)


@MODELS.register_module()
class ColourAfterMixing(Mixing):
    """Mixes, then jitters colours and blurs the mixed images: the strong view of ClassMix's and MLLC's code.

    Unlabelled pipelines for it make no strong view of their own. One coin a batch decides about the jitter, with factors for
    each image and one order, and one about the blur, with one width; see :mod:`mmseg_semi.data.colour.hsv`. Labels,
    confidence and validity move with the mixing only.

    Args:
        mixing: Config of a mixing, or None.
        mean, std, bgr_to_rgb: Those of the data preprocessor, to bring images to RGB in [0, 1] and back.
        num_classes: K; None takes the student's number.
        jitter: Probability of the jitter.
        strength: Largest change of brightness, contrast, saturation and hue.
        blur: Probability of the blur.
        sigma: Range of its width, in pixels.

    Raises:
        SetupError: A value out of range.

    Example:
        >>> mixing = ColourAfterMixing(None, mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True, jitter=1.0)
        >>> images, labels = torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> coloured, _, _ = mixing(images, pseudo, valid, torch.Generator().manual_seed(0))
        >>> coloured.shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        mixing: dict | None,
        mean: Sequence[float],
        std: Sequence[float],
        bgr_to_rgb: bool,
        num_classes: int | None = None,
        jitter: float = 0.8,
        strength: float = 0.25,
        blur: float = 0.5,
        sigma: tuple[float, float] = (0.15, 1.15),
    ) -> None:
        super().__init__()
        if not (0 <= jitter <= 1 and 0 <= blur <= 1 and 0 <= strength <= 0.5):
            raise SetupError(
                f'mixing: jitter={jitter}, blur={blur}, strength={strength}; expected probabilities and a strength in [0, 0.5]'
            )
        if not 0 < sigma[0] <= sigma[1]:
            raise SetupError(f'mixing.sigma={tuple(sigma)}: expected a range of numbers > 0')
        self.num_classes = num_classes
        self.mixing = MODELS.build(mixing) if mixing else None
        if self.mixing is not None:
            check_mixing(self.mixing, 'model.mixing.mixing')
            self.needs_labeled = self.mixing.needs_labeled
            self.needs_certainty = self.mixing.needs_certainty
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)
        self.rgb = bgr_to_rgb
        self.jitter, self.strength, self.blur, self.sigma = jitter, strength, blur, tuple(sigma)

    def bind(self, num_classes: int, key: str = 'model.mixing') -> None:
        self.num_classes = agreed_num_classes(self.num_classes, num_classes, key)
        if self.mixing is not None:
            self.mixing.bind(num_classes, f'{key}.mixing')

    def forward(
        self,
        images: Tensor,
        pseudo: PseudoLabels,
        valid: Tensor,
        generator: torch.Generator,
        **given: Labeled | Tensor,
    ) -> Mixed:
        """See :class:`Mixing`; ``given`` are the keyword arguments of a mixing that needs some."""
        if self.mixing is not None:
            extra = mixing_keywords(self.mixing, **given)
            images, pseudo, valid = self.mixing(images, pseudo, valid, generator, **extra)
        # drawn whether used or not, so that later draws of the step do not depend on the coins
        coins = torch.rand(2, generator=generator)
        order = torch.randperm(4, generator=generator).tolist()
        draws = torch.rand(4, len(images), generator=generator) * 2 - 1
        width = float(torch.rand((), generator=generator))
        if coins[0] >= self.jitter and coins[1] >= self.blur:
            return images, pseudo, valid
        colours = (images.float() * self.std + self.mean) / 255
        colours = colours if self.rgb else colours.flip(1)
        if coins[0] < self.jitter:
            amounts = dict(zip(OPERATIONS, draws * self.strength, strict=True))
            for factor in ('contrast', 'saturation'):
                amounts[factor] = 1 + amounts[factor]
            colours = colour_jitter(colours, amounts, [OPERATIONS[i] for i in order])
        if coins[1] < self.blur:
            low, high = self.sigma
            colours = gaussian_blur(colours, low + width * (high - low))
        colours = colours if self.rgb else colours.flip(1)
        return ((colours * 255 - self.mean) / self.std).to(images.dtype), pseudo, valid
