"""CCT's perturbations guided by the prediction: Con-Msk, Obj-Msk, G-Cutout.

Y. Ouali et al., CVPR 2020, https://arxiv.org/abs/2003.09005; behaviour checked against
https://github.com/yassouali/CCT (65d4e5b). Objects are the pixels whose predicted class is not a
background class.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_semi.methods.cct.perturbations.draws import SpatialMask


class Boxes(NamedTuple):
    """Bounding boxes of objects, on the host."""

    corner: Tensor
    """(B, 2) int64, top and left in pixels."""
    extent: Tensor
    """(B, 2) int64, y_max - y_min and x_max - x_min of the outline's vertices, without + 1."""
    image: Tensor
    """(B,) int64, index of the image in the batch."""


def object_boxes(foreground: Tensor, min_vertices: int = 50) -> Boxes:
    """Find the boxes of connected objects whose outline has many vertices.

    Outlines are external contours without the inner points of straight runs (OpenCV's RETR_EXTERNAL
    and CHAIN_APPROX_SIMPLE). The number of vertices is no area: a rectangle has 4 and is never cut.
    A disc has more than 50 from a radius between 15 and 20. Touching objects of different classes
    are one object.

    Args:
        foreground: (N, H, W) bool, pixels of objects.
        min_vertices: An object counts if its outline has more vertices than this (50).

    Example:
        >>> y, x = torch.arange(64)[:, None], torch.arange(64)
        >>> disc = (y - 31) ** 2 + (x - 31) ** 2 <= 25**2
        >>> object_boxes(disc[None])
        Boxes(corner=tensor([[6, 6]]), extent=tensor([[50, 50]]), image=tensor([0]))
    """
    found = []
    # here alone the host waits for the prediction
    for image, mask in enumerate(foreground.cpu().to(torch.uint8).numpy()):
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            if len(contour) > min_vertices:
                x, y, width, height = cv2.boundingRect(contour)
                found.append((y, x, height - 1, width - 1, image))
    table = torch.from_numpy(np.array(found, dtype=np.int64).reshape(-1, 5))
    return Boxes(table[:, :2], table[:, 2:4], table[:, 4])


def cut_boxes(
    boxes: Boxes,
    count: int,
    image_size: tuple[int, int],
    shape: tuple[int, int, int],
    generator: torch.Generator,
    erase_side: float = 0.4,
    device: torch.device | None = None,
) -> SpatialMask:
    """Draw G-Cutout: erase a rectangle at a random place in each object's box.

    The rectangle's sides are ``erase_side`` times the box's, so 0.4 erases 16 % of the box's area.
    The released code's README calls this 40 % of the area. For a side b, offsets are uniform
    integers in {0, ..., floor(b (1 - erase_side))}, drawn for each decoder and box. One mask cuts
    all objects of an image. A cell is erased if the pixel at its top left corner is.

    Args:
        boxes: Boxes of all images.
        count: Number of decoders K.
        image_size: (H, W), the size to which the boxes refer.
        shape: (N, h, w) of the features.
        generator: CPU generator.
        erase_side: Side of the rectangle over that of the box, in [0, 1] (0.4).
        device: Device of the mask.

    Example:
        >>> corner, extent = torch.tensor([[6, 6]]), torch.tensor([[50, 50]])
        >>> boxes = Boxes(corner, extent, image=torch.tensor([0]))
        >>> mask = cut_boxes(boxes, 6, (64, 64), (1, 64, 64), torch.Generator())
        >>> mask.keep.shape, (~mask.keep[0, 0]).sum().item()  # 20 x 20 pixels are erased
        (torch.Size([1, 6, 64, 64]), 400)
    """
    number, height, width = shape
    side = boxes.extent.double()
    free = (side * (1 - erase_side)).floor() + 1
    offset = (torch.rand(count, *free.shape, generator=generator).double() * free).long()
    first = boxes.corner + torch.minimum(offset, free.long() - 1)  # (K, B, 2)
    last = first + (side * erase_side).floor().long()
    inside = []  # per axis (K, B, cells): whether the cell's pixel lies inside the rectangle
    for axis, cells in enumerate((height, width)):
        pixel = torch.arange(cells) * image_size[axis] // cells
        inside.append((first[..., axis, None] <= pixel) & (pixel < last[..., axis, None]))
    rows, columns = (part.to(device, torch.float32, non_blocking=True) for part in inside)
    of_image = torch.arange(number)[:, None] == boxes.image  # (N, B)
    of_image = of_image.to(device, torch.float32, non_blocking=True)
    # number of its image's rectangles on each cell: one product per decoder and image, no (B, h, w)
    hits = (rows.transpose(1, 2)[None] * of_image[:, None, None]) @ columns
    return SpatialMask(hits == 0)


def winner_has(flags: Sequence[bool], logits: Tensor) -> Tensor:
    """Return ``flags[argmax(logits)]`` for every pixel; of equal classes the first one wins.

    Classes with equal flags that follow each other are compared by their maximum alone, which a CPU
    finds in a small part of the time of an argmax.

    Args:
        flags: A flag for each of K classes.
        logits: (N, K, H, W).

    Returns:
        (N, H, W) bool.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0], [1.0, 2.0]]).view(1, 2, 1, 2)
        >>> winner_has([False, True], logits)
        tensor([[[False,  True]]])
    """
    start, highest = 0, None
    for flag, run in groupby(flags):
        stop = start + len(list(run))
        own = logits[:, start:stop].amax(dim=1)
        if highest is None:
            highest, found = own, torch.full_like(own, flag, dtype=torch.bool)
        else:
            better = own > highest
            highest = highest.maximum(own)
            found = found | better if flag else found & ~better
        start = stop
    return found


class Guidance:
    """Hold what the perturbations of one step share: the prediction and the random generator.

    The objects and their boxes are computed once, at the first use.

    Args:
        logits: (N, K, H', W') the main decoder's logits on the clean features; used without graph.
        generator: CPU generator of the step.
        image_size: (H, W) of the images. Objects are outlined at this size if the logits are
            smaller; None means the size of the logits.
        background_classes: Classes that are no objects ((0,)).
        decode: Maps z to logits, for perturbations that need the decoder; None if none does.

    Example:
        >>> guidance = Guidance(torch.randn(2, 3, 32, 32), torch.Generator(), image_size=(64, 64))
        >>> guidance.foreground.shape, guidance.foreground_cells(8, 8).shape
        (torch.Size([2, 64, 64]), torch.Size([2, 8, 8]))
    """

    def __init__(
        self,
        logits: Tensor,
        generator: torch.Generator,
        image_size: tuple[int, int] | None = None,
        background_classes: Sequence[int] = (0,),
        decode=None,
    ) -> None:
        self.logits = logits.detach()
        self.generator = generator
        self.image_size = image_size
        self.decode = decode
        background = set(background_classes)
        self._is_object = [c not in background for c in range(logits.shape[1])]
        self._boxes: dict[int, Boxes] = {}

    @cached_property
    def foreground(self) -> Tensor:
        """(N, H, W) bool, pixels of objects, at the larger size of logits and images."""
        logits = self.logits
        if self.image_size is not None and logits.shape[2] < self.image_size[0]:
            logits = F.interpolate(logits, tuple(self.image_size), mode='bilinear')
        return winner_has(self._is_object, logits)

    def foreground_cells(self, height: int, width: int) -> Tensor:
        """Return (N, h, w) bool: whether the nearest pixel of each cell belongs to an object.

        No argmax at full size is needed.
        """
        size = self.logits.shape[2:]
        rows, columns = (
            torch.arange(cells, device=self.logits.device) * extent // cells
            for cells, extent in zip((height, width), size, strict=True)
        )
        return winner_has(self._is_object, self.logits[:, :, rows[:, None], columns])

    def boxes(self, min_vertices: int = 50) -> Boxes:
        """Return :func:`object_boxes` of :attr:`foreground`, found at the first call."""
        if min_vertices not in self._boxes:
            self._boxes[min_vertices] = object_boxes(self.foreground, min_vertices)
        return self._boxes[min_vertices]
