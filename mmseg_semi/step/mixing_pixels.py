"""Which pixels a mixing takes, and how they move: boxes and classes, and images mixed, erased and pasted along a mask.

One mask says where an image keeps its own pixels; image, pseudo-label, confidence, weight, validity and noisy label move by the
same mask. The partner of image i is image (i + 1) mod N of the same batch, as in the released DDFP, DGCL and MLLC code. A mixing
with labelled images (:func:`paste_labeled`) takes labelled image i mod N_l.
"""

import math

import torch
from torch import Tensor

from mmseg_semi.labels import IGNORE
from mmseg_semi.step.views import PseudoLabels

Mixed = tuple[Tensor, PseudoLabels, Tensor]
"""Images (N, 3, H, W), pseudo-labels and validity (N, H, W) of the mixed strong view."""

Labeled = tuple[Tensor, Tensor]
"""The labelled images (N_l, 3, H, W), normalised, and their labels (N_l, H, W) int64, of the same batch."""


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


def draw_free_box(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> tuple[int, int, int, int]:
    """Draws a rectangle of random size and shape that lies inside the image.

    Its area is uniform in a range; shape and place are drawn together, uniformly, until the rectangle fits, so that shapes
    with more room are more frequent. For square images and the ranges (0.02, 0.4) and (0.3, 1 / 0.3) this is the box of
    UniMatch's released code.

    Args:
        height, width: H and W of the image, in pixels.
        area: Range of the share of the image, in (0, 1).
        aspect: Range of height over width, relative to the image's own; it contains 1.
        generator: CPU generator.

    Returns:
        (top, left, bottom, right), half-open, in pixels.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> top, left, bottom, right = draw_free_box(64, 64, (0.1, 0.1), (1.0, 1.0), generator)
        >>> bottom - top, right - left
        (20, 20)
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))

    share = uniform(*area)
    while True:
        ratio = uniform(*aspect)
        box_height = int(math.sqrt(share * ratio) * height)
        box_width = int(math.sqrt(share / ratio) * width)
        top = int(torch.randint(height, (), generator=generator))
        left = int(torch.randint(width, (), generator=generator))
        if top + box_height <= height and left + box_width <= width:
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
        pseudo: Labels, confidence, weights and noisy labels, (N, H, W).
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
        None if pseudo.weight is None else both(pseudo.weight, keep),
    )
    return both(images, keep[:, None]), mixed, both(valid, keep)


def cut_out(keep: Tensor, images: Tensor, pseudo: PseudoLabels, valid: Tensor) -> Mixed:
    """Erases the pixels where ``keep`` is False: mean colour (0 after normalisation), label IGNORE, not valid.

    Args:
        keep: (N, H, W) bool.
        images: (N, 3, H, W), normalised.
        pseudo: Labels, confidence, weights and noisy labels, (N, H, W).
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
        None if pseudo.weight is None else pseudo.weight * keep,
    )
    return images * keep[:, None], erased, valid & keep


def paste_labeled(
    chosen: Tensor,
    images_l: Tensor,
    labels_l: Tensor,
    images: Tensor,
    pseudo: PseudoLabels,
    valid: Tensor,
) -> Mixed:
    """Pastes pixels of labelled images with their true labels over unlabelled images.

    A pasted pixel has confidence and weight 1, is valid, and has no noisy label (IGNORE): noisy labels are those of unlabelled images, and
    an objective that learns from them must not count the truth among them.

    Args:
        chosen: (N, H, W) bool, the pasted pixels; none of them may be IGNORE in ``labels_l``.
        images_l: (N, 3, H, W), the labelled image of each unlabelled one, normalised.
        labels_l: (N, H, W) int64, their true labels.
        images: (N, 3, H, W), the unlabelled images.
        pseudo: Labels, confidence, weights and noisy labels, (N, H, W).
        valid: (N, H, W) bool, False in padding.

    Returns:
        Images, pseudo-labels and validity after mixing.

    Example:
        >>> labels = torch.zeros(1, 2, 2, dtype=torch.long)
        >>> pseudo, valid = PseudoLabels(labels, labels + 0.5), labels > 0
        >>> image_l, image = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
        >>> mixed, moved, _ = paste_labeled(~valid, image_l, labels + 1, image, pseudo, valid)
        >>> mixed.mean().item(), moved.labels.unique().tolist(), moved.confidence.unique().tolist()
        (1.0, [1], [1.0])
    """
    mixed = PseudoLabels(
        torch.where(chosen, labels_l, pseudo.labels),
        pseudo.confidence.masked_fill(chosen, 1.0),
        None if pseudo.noisy is None else pseudo.noisy.masked_fill(chosen, IGNORE),
        None if pseudo.weight is None else pseudo.weight.masked_fill(chosen, 1.0),
    )
    return torch.where(chosen[:, None], images_l.to(images.dtype), images), mixed, valid | chosen
