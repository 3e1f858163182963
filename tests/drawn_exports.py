"""Exports of annotation tools in tests: where they are, and their regions as masks."""

from pathlib import Path

import numpy as np

from mmseg_semi.preparing.annotations import AnnotatedImage, Export
from mmseg_semi.preparing.annotations.drawing import draw_regions

EXPORTS = Path(__file__).parent / 'preparing/annotations/exports'


def image_of(export: Export, name: str) -> AnnotatedImage:
    """The image of an export whose name ends with ``name``."""
    (image,) = (image for image in export.images if image.name.endswith(name))
    return image


def drawn(export: Export, name: str, unmarked: int = 0) -> np.ndarray:
    """The mask of an image: 1, 2, … are the classes of the export in their order, 255 is ignored."""
    image = image_of(export, name)
    indices = {label: place for place, label in enumerate(export.classes, 1)}
    return draw_regions(image, image.size, indices, unmarked)[0]


def boxes(height: int, width: int, *filled: tuple[int, int, int, int, int]) -> np.ndarray:
    """A mask of zeros and of boxes (value, left, top, right, bottom), the last one on top; right and bottom are not filled."""
    mask = np.zeros((height, width), np.uint8)
    for value, left, top, right, bottom in filled:
        mask[top:bottom, left:right] = value
    return mask
