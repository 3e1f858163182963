"""Mixing of unlabelled images: CutMix, ClassMix and CutOut on batches.

One mask says where an image keeps its own pixels; image, pseudo-label, confidence, validity and given labels move by the same
mask.
The partner of image i is image (i + 1) mod N of the same batch, as in the released DDFP, DGCL and MLLC code.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.data.colour.after_mixing import OPERATIONS, colour_jitter, gaussian_blur
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.views import PseudoLabels, StepViews


def draw_box(
    height: int, width: int, area: float, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """A random rectangle of about ``area`` of the image, entirely inside it.

    Width is a uniform integer in [floor(area * W + 1), W - 1], height is round(area * H * W / width): with area 0.5 and
    H = W = S this is the box of DDFP's released code, |w h - S^2/2| <= w/2.

    Returns:
        (top, left, bottom, right), half-open, in pixels.
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
    """(count, H, W) bool on the CPU: True outside one random box an image."""
    keep = torch.ones(count, height, width, dtype=torch.bool)
    for mask in keep:
        top, left, bottom, right = draw_box(height, width, area, generator)
        mask[top:bottom, left:right] = False
    return keep


def class_masks(labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """ClassMix (arXiv 2007.07936): True on the pixels of floor(n/2) of the n classes that an image's labels hold.

    Pixels labelled IGNORE are never chosen. The choice is uniform without replacement: every class of the image draws a
    key, and those with the floor(n/2) smallest keys are kept.

    Args:
        labels: (N, H, W) int64 in [0, num_classes) or IGNORE.
        num_classes: K.
        generator: CPU generator.

    Returns:
        (N, H, W) bool.
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


def mix(
    keep: Tensor, images: Tensor, pseudo: PseudoLabels, valid: Tensor
) -> tuple[Tensor, PseudoLabels, Tensor]:
    """Keep each image's own pixels where ``keep``, take those of image (i + 1) mod N elsewhere.

    Args:
        keep: (N, H, W) bool.
        images: (N, 3, H, W).
        pseudo: labels, confidence and given labels, (N, H, W).
        valid: (N, H, W) bool.
    """

    def both(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x, x.roll(-1, dims=0))

    mixed = PseudoLabels(
        both(pseudo.labels, keep),
        both(pseudo.confidence, keep),
        None if pseudo.given is None else both(pseudo.given, keep),
    )
    return both(images, keep[:, None]), mixed, both(valid, keep)


class _Mixing(nn.Module):
    """Base: with probability ``prob`` (one draw a batch) the views' unlabelled batch is mixed, else it is kept."""

    def __init__(self, prob: float) -> None:
        super().__init__()
        if not 0 <= prob <= 1:
            raise SetupError(f'mixing.prob={prob}: expected a probability in [0, 1]')
        self.prob = prob

    def forward(self, views: StepViews) -> tuple[Tensor, PseudoLabels, Tensor]:
        """Returns (images (N, 3, H, W), pseudo-labels, validity (N, H, W)) of the mixed strong view."""
        if float(torch.rand((), generator=views.generator)) >= self.prob:
            return views.img_u_s, views.pseudo_u, views.valid_u
        return self.apply_to(views)

    def apply_to(self, views: StepViews) -> tuple[Tensor, PseudoLabels, Tensor]:
        raise NotImplementedError


@MODELS.register_module()
class CutMix(_Mixing):
    """A box of image i comes from image (i + 1) mod N; one coin a batch, one box an image (DDFP, DGCL, U2PL).

    Args:
        prob: Probability that the batch is mixed.
        area: Share of the image that the box covers, in (0, 1).
    """

    def __init__(self, prob: float = 0.5, area: float = 0.5) -> None:
        super().__init__(prob)
        if not 0 < area < 1:
            raise SetupError(f'mixing.area={area}: expected a share of the image in (0, 1)')
        self.area = area

    def apply_to(self, views: StepViews) -> tuple[Tensor, PseudoLabels, Tensor]:
        count, _, height, width = views.img_u_s.shape
        keep = box_masks(count, height, width, self.area, views.generator).to(views.img_u_s.device)
        return mix(keep, views.img_u_s, views.pseudo_u, views.valid_u)


@MODELS.register_module()
class ClassMix(_Mixing):
    """Half of the predicted classes of image i are pasted over image (i + 1) mod N (arXiv 2007.07936).

    Args:
        num_classes: K, the segmentor's number of classes.
        prob: Probability that the batch is mixed.
    """

    def __init__(self, num_classes: int, prob: float = 1.0) -> None:
        super().__init__(prob)
        if num_classes < 1:
            raise SetupError(f'mixing.num_classes={num_classes}: expected the number of classes')
        self.num_classes = num_classes

    def apply_to(self, views: StepViews) -> tuple[Tensor, PseudoLabels, Tensor]:
        keep = class_masks(views.pseudo_u.labels, self.num_classes, views.generator)
        return mix(keep, views.img_u_s, views.pseudo_u, views.valid_u)


@MODELS.register_module()
class CutOut(_Mixing):
    """A box of every image is erased: mean colour (0 after normalisation), label IGNORE, not valid (arXiv 1708.04552).

    Args:
        prob: Probability that the batch is cut.
        area: Share of the image that the box covers, in (0, 1).
    """

    def __init__(self, prob: float = 0.5, area: float = 0.25) -> None:
        super().__init__(prob)
        if not 0 < area < 1:
            raise SetupError(f'mixing.area={area}: expected a share of the image in (0, 1)')
        self.area = area

    def apply_to(self, views: StepViews) -> tuple[Tensor, PseudoLabels, Tensor]:
        count, _, height, width = views.img_u_s.shape
        keep = box_masks(count, height, width, self.area, views.generator).to(views.img_u_s.device)
        pseudo = replace(
            views.pseudo_u,
            labels=views.pseudo_u.labels.masked_fill(~keep, IGNORE),
            confidence=views.pseudo_u.confidence * keep,
            given=None
            if views.pseudo_u.given is None
            else views.pseudo_u.given.masked_fill(~keep, IGNORE),
        )
        return views.img_u_s * keep[:, None], pseudo, views.valid_u & keep


@MODELS.register_module()
class ColourAfterMixing(nn.Module):
    """A mixing, then colour jitter and blur of the mixed images: the strong view of ClassMix's and MLLC's code.

    Unlabelled pipelines for it make no strong view of their own. One coin a batch for the jitter, with factors for each image
    and one order, and one for the blur, with one width; see :mod:`mmseg_semi.data.colour.hsv`. Labels, confidence and validity
    move with the mixing only.

    Args:
        num_classes: K, the segmentor's number of classes.
        mixing: Config of a mixing, or None.
        mean, std, bgr_to_rgb: Those of the data preprocessor, to bring images to RGB in [0, 1] and back.
        jitter: Probability of the jitter.
        strength: Largest change of brightness, contrast, saturation and hue.
        blur: Probability of the blur.
        sigma: Range of its width, in pixels.

    Raises:
        SetupError: A value out of range.
    """

    def __init__(
        self,
        num_classes: int,
        mixing: dict | None,
        mean: Sequence[float],
        std: Sequence[float],
        bgr_to_rgb: bool,
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
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)
        self.rgb = bgr_to_rgb
        self.jitter, self.strength, self.blur, self.sigma = jitter, strength, blur, tuple(sigma)

    def forward(self, views: StepViews) -> tuple[Tensor, PseudoLabels, Tensor]:
        """Returns (images (N, 3, H, W), pseudo-labels, validity (N, H, W)) of the mixed strong view."""
        images, pseudo, valid = views.img_u_s, views.pseudo_u, views.valid_u
        if self.mixing is not None:
            images, pseudo, valid = self.mixing(views)
        # drawn whether used or not: what a later step draws depends on nothing but its own generator
        coins = torch.rand(2, generator=views.generator)
        order = torch.randperm(4, generator=views.generator).tolist()
        draws = torch.rand(4, len(images), generator=views.generator) * 2 - 1
        width = float(torch.rand((), generator=views.generator))
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
