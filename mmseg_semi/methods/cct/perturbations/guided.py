"""CCT's perturbations guided by the prediction: Con-Msk, Obj-Msk, G-Cutout (arXiv 2003.09005; github.com/yassouali/CCT).

Objects are the pixels that the main decoder gives a class other than the background's.
"""

from collections.abc import Sequence
from functools import cached_property
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
    """(B, 2) int64: top and left, in pixels."""
    extent: Tensor
    """(B, 2) int64: y_max - y_min and x_max - x_min of the outline's vertices, without + 1."""
    image: Tensor
    """(B,) int64: which image of the batch."""


def object_boxes(foreground: Tensor, min_vertices: int = 50) -> Boxes:
    """Boxes of the connected objects whose outline has more than ``min_vertices`` vertices.

    Outlines are external contours with straight runs taken together (OpenCV's RETR_EXTERNAL, CHAIN_APPROX_SIMPLE). It is a
    count of vertices, not an area: a rectangle has 4 and is never cut, a disc has more than 50 from a radius of 15 to 20.
    Touching objects of different classes are one.

    Args:
        foreground: (N, H, W) bool.
    """
    found = []
    # the one look of the host at the prediction
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
    """G-Cutout: out of each object's box a rectangle of ``erase_side`` times its sides is erased, at a random place in it.

    That is erase_side^2 = 16 % of the box's area. Offsets are uniform integers in {0, ..., floor(b (1 - erase_side))}, anew
    for each decoder and box; all objects of an image are cut at once. A cell is erased where the pixel at its corner is.

    Args:
        boxes: Of all images.
        count: K.
        image_size: (H, W) that the boxes are in.
        shape: (N, h, w) of the features.
        generator: CPU generator.
        device: Of the mask.
    """
    number, height, width = shape
    side = boxes.extent.double()
    free = (side * (1 - erase_side)).floor() + 1
    offset = (torch.rand(count, *free.shape, generator=generator).double() * free).long()
    first = boxes.corner + torch.minimum(offset, free.long() - 1)  # (K, B, 2)
    last = first + (side * erase_side).floor().long()
    inside = []  # for each axis (K, B, cells): the cell's pixel lies in the rectangle's rows or columns
    for axis, cells in enumerate((height, width)):
        pixel = torch.arange(cells) * image_size[axis] // cells
        inside.append((first[..., axis, None] <= pixel) & (pixel < last[..., axis, None]))
    rows, columns = (part.to(device, torch.float32, non_blocking=True) for part in inside)
    own = torch.arange(number)[:, None] == boxes.image  # (N, B)
    own = own.to(device, torch.float32, non_blocking=True)
    # how many of its image's rectangles lie on a cell, as one product a decoder and image: no (B, h, w) tensor
    hits = (rows.transpose(1, 2)[None] * own[:, None, None]) @ columns
    return SpatialMask(hits == 0)


class Guidance:
    """What the perturbations of one step share: the main decoder's prediction, computed once, and the random streams.

    Args:
        logits: (N, K, H', W') scores on the clean features; used without their graph.
        generator: CPU generator of the step.
        image_size: (H, W) of the images; objects are outlined at this size where the scores are smaller.
        background_classes: What counts as no object.
        decode: z -> scores, for perturbations that ask the decoder which they are to disturb; None where nobody does.
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
        is_object = torch.ones(logits.shape[1], dtype=torch.bool)
        is_object[list(background_classes)] = False
        self._is_object = is_object.to(logits.device, non_blocking=True)
        self._boxes: dict[int, Boxes] = {}

    @cached_property
    def foreground(self) -> Tensor:
        """(N, H, W) bool: objects, at the size of the scores or of the images, whichever is larger."""
        logits = self.logits
        if self.image_size is not None and logits.shape[2] < self.image_size[0]:
            logits = F.interpolate(logits, tuple(self.image_size), mode='bilinear')
        return self._is_object[logits.argmax(dim=1)]

    def foreground_cells(self, height: int, width: int) -> Tensor:
        """(N, h, w) bool: the nearest pixel of each cell, without an argmax at full size."""
        size = self.logits.shape[2:]
        rows, columns = (
            torch.arange(cells, device=self.logits.device) * extent // cells
            for cells, extent in zip((height, width), size, strict=True)
        )
        return self._is_object[self.logits[:, :, rows[:, None], columns].argmax(dim=1)]

    def boxes(self, min_vertices: int = 50) -> Boxes:
        """:func:`object_boxes` of :attr:`foreground`, found once for all that ask."""
        if min_vertices not in self._boxes:
            self._boxes[min_vertices] = object_boxes(self.foreground, min_vertices)
        return self._boxes[min_vertices]
