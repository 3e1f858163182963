"""Mixing of unlabelled images: CutMix, ClassMix and CutOut on batches.

One mask says where an image keeps its own pixels; image, pseudo-label, confidence, validity and noisy label move by the same
mask. The partner of image i is image (i + 1) mod N of the same batch, as in the released DDFP, DGCL and MLLC code.
"""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.data.colour.after_mixing import OPERATIONS, colour_jitter, gaussian_blur
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.networks import agreed_num_classes
from mmseg_semi.step.views import PseudoLabels

Mixed = tuple[Tensor, PseudoLabels, Tensor]
"""Images (N, 3, H, W), pseudo-labels and validity (N, H, W) of the mixed strong view."""


def draw_box(
    height: int, width: int, area: float, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draws a rectangle of about ``area`` of the image that lies inside it.

    Width is a uniform integer in [floor(area * W + 1), W - 1], height is round(area * H * W / width): with area 0.5 and
    H = W = S this is the box of DDFP's released code, |w h - S^2/2| <= w/2.

    Args:
        height, width: H and W of the image, in pixels.
        area: Share of the image, in (0, 1).
        generator: CPU generator.

    Returns:
        (top, left, bottom, right), half-open, in pixels.

    Example:
        >>> top, left, bottom, right = draw_box(64, 64, 0.5, torch.Generator().manual_seed(0))
        >>> 0 <= top < bottom <= 64 and abs((bottom - top) * (right - left) - 64 * 64 / 2) <= 32
        True
    """

    def integer(low: int, high: int) -> int:  # inclusive
        return int(torch.randint(low, max(low, high) + 1, (), generator=generator))

    box_width = integer(min(int(area * width + 1), width), width - 1)
    box_height = min(round(area * height * width / box_width), height)
    top, left = integer(0, height - box_height), integer(0, width - box_width)
    return top, left, top + box_height, left + box_width


def box_masks(
    count: int, height: int, width: int, area: float, generator: torch.Generator
) -> Tensor:
    """(count, H, W) bool on the CPU: True outside one random box for each image, see :func:`draw_box`.

    Example:
        >>> keep = box_masks(2, 64, 64, 0.5, torch.Generator().manual_seed(0))
        >>> keep.shape, keep.dtype
        (torch.Size([2, 64, 64]), torch.bool)
    """
    keep = torch.ones(count, height, width, dtype=torch.bool)
    for mask in keep:
        top, left, bottom, right = draw_box(height, width, area, generator)
        mask[top:bottom, left:right] = False
    return keep


def class_masks(labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """Masks of ClassMix (arXiv 2007.07936): True on the pixels of floor(n/2) of the n classes in an image's labels.

    Pixels labelled IGNORE are never chosen. The choice is uniform without replacement: every class of the image draws a
    key, and those with the floor(n/2) smallest keys are kept.

    Args:
        labels: (N, H, W) int64 in [0, num_classes) or IGNORE.
        num_classes: K.
        generator: CPU generator.

    Returns:
        (N, H, W) bool.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 255]]])  # two classes: one of them is kept
        >>> keep = class_masks(labels, 2, torch.Generator().manual_seed(0))
        >>> keep.tolist() in ([[[True, True, False, False]]], [[[False, False, True, False]]])
        True
    """
    count = labels.shape[0]
    keys = torch.rand(count, num_classes, generator=generator).to(labels.device)
    present = torch.zeros(count, num_classes + 1, device=labels.device, dtype=torch.bool)
    index = labels.clamp(max=num_classes).flatten(1)  # IGNORE goes to a spare column
    present.scatter_(1, index, torch.ones_like(index, dtype=torch.bool))
    present = present[:, :num_classes]
    rank = keys.masked_fill(~present, 2.0).argsort(dim=1).argsort(dim=1)
    chosen = present & (rank < present.sum(dim=1, keepdim=True) // 2)
    chosen = torch.cat([chosen, chosen.new_zeros(count, 1)], dim=1)
    return chosen.gather(1, index).view_as(labels)


def mix(keep: Tensor, images: Tensor, pseudo: PseudoLabels, valid: Tensor) -> Mixed:
    """Keeps each image's own pixels where ``keep`` is True and takes those of image (i + 1) mod N elsewhere.

    Args:
        keep: (N, H, W) bool.
        images: (N, 3, H, W).
        pseudo: Labels, confidence and noisy labels, (N, H, W).
        valid: (N, H, W) bool, False in padding.

    Returns:
        Images, pseudo-labels and validity after mixing.

    Example:
        >>> images, labels = torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> mixed, _, _ = mix(~valid, images, pseudo, valid)  # keeps no pixel
        >>> torch.equal(mixed, images.flip(0))
        True
    """

    def both(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x, x.roll(-1, dims=0))

    mixed = PseudoLabels(
        both(pseudo.labels, keep),
        both(pseudo.confidence, keep),
        None if pseudo.noisy is None else both(pseudo.noisy, keep),
    )
    return both(images, keep[:, None]), mixed, both(valid, keep)


def cut_out(keep: Tensor, images: Tensor, pseudo: PseudoLabels, valid: Tensor) -> Mixed:
    """Erases the pixels where ``keep`` is False: mean colour (0 after normalisation), label IGNORE, not valid.

    Args:
        keep: (N, H, W) bool.
        images: (N, 3, H, W), normalised.
        pseudo: Labels, confidence and noisy labels, (N, H, W).
        valid: (N, H, W) bool, False in padding.

    Returns:
        Images, pseudo-labels and validity.

    Example:
        >>> labels = torch.zeros(1, 2, 2, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> image, erased, _ = cut_out(~valid, torch.randn(1, 3, 2, 2), pseudo, valid)
        >>> image.abs().max().item(), erased.labels.unique().tolist()
        (0.0, [255])
    """
    erased = PseudoLabels(
        pseudo.labels.masked_fill(~keep, IGNORE),
        pseudo.confidence * keep,
        None if pseudo.noisy is None else pseudo.noisy.masked_fill(~keep, IGNORE),
    )
    return images * keep[:, None], erased, valid & keep


class Mixing(nn.Module):
    """Base class of mixings, which make the student's view from the strong view of the unlabelled images.

    A subclass implements :meth:`forward`, or :meth:`apply_to` if one draw a batch decides whether it mixes.
    """

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

        Returns:
            Images, pseudo-labels and validity of the mixed view.
        """
        raise NotImplementedError


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
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        """See :class:`Mixing`."""
        if float(torch.rand((), generator=generator)) >= self.prob:
            return images, pseudo, valid
        return self.apply_to(images, pseudo, valid, generator)

    def apply_to(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        """Mixes a batch; arguments and result are those of ``forward``."""
        raise NotImplementedError


def _check_area(area: float) -> float:
    if not 0 < area < 1:
        raise SetupError(f'mixing.area={area}: expected a share of the image in (0, 1)')
    return area


@MODELS.register_module()
class CutMix(RandomMixing):
    """Takes a box of image i from image (i + 1) mod N; one coin a batch, one box an image (DDFP, DGCL, U2PL).

    Args:
        prob: Probability that the batch is mixed (0.5).
        area: Share of the image that the box covers, in (0, 1) (0.5).

    Example:
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels.float()), labels == 0
        >>> mixed, _, _ = CutMix(prob=1.0)(images, pseudo, valid, torch.Generator().manual_seed(0))
        >>> ((mixed == images) | (mixed == images.flip(0))).all().item()  # every pixel is of one image
        True
    """

    def __init__(self, prob: float = 0.5, area: float = 0.5) -> None:
        super().__init__(prob)
        self.area = _check_area(area)

    def apply_to(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        count, _, height, width = images.shape
        keep = box_masks(count, height, width, self.area, generator).to(images.device)
        return mix(keep, images, pseudo, valid)


@MODELS.register_module()
class ClassMix(RandomMixing):
    """Pastes half of the predicted classes of image i over image (i + 1) mod N (arXiv 2007.07936).

    Args:
        num_classes: K; None takes the student's number.
        prob: Probability that the batch is mixed (1).

    Example:
        >>> images, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 5, (2, 8, 8))
        >>> pseudo, valid = PseudoLabels(labels, torch.rand(2, 8, 8)), labels >= 0
        >>> mixed, _, _ = ClassMix(num_classes=5)(images, pseudo, valid, torch.Generator().manual_seed(0))
        >>> mixed.shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, num_classes: int | None = None, prob: float = 1.0) -> None:
        super().__init__(prob)
        if num_classes is not None and num_classes < 1:
            raise SetupError(f'mixing.num_classes={num_classes}: expected the number of classes')
        self.num_classes = num_classes

    def bind(self, num_classes: int, key: str = 'model.mixing') -> None:
        self.num_classes = agreed_num_classes(self.num_classes, num_classes, key)

    def apply_to(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        keep = class_masks(pseudo.labels, self.num_classes, generator)
        return mix(keep, images, pseudo, valid)


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
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)
        self.rgb = bgr_to_rgb
        self.jitter, self.strength, self.blur, self.sigma = jitter, strength, blur, tuple(sigma)

    def bind(self, num_classes: int, key: str = 'model.mixing') -> None:
        self.num_classes = agreed_num_classes(self.num_classes, num_classes, key)
        if self.mixing is not None:
            self.mixing.bind(num_classes, f'{key}.mixing')

    def forward(
        self, images: Tensor, pseudo: PseudoLabels, valid: Tensor, generator: torch.Generator
    ) -> Mixed:
        """See :class:`Mixing`."""
        if self.mixing is not None:
            images, pseudo, valid = self.mixing(images, pseudo, valid, generator)
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
