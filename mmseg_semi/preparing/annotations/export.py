"""An annotation tool's export, as every reader gives it: images, and regions of classes in them.

A reader is a module of this folder with two functions: ``matches(path) -> bool``, which looks at names and at the beginning of
files only, and ``read(path, images) -> Export``. It decodes no image and draws nothing: :mod:`.drawing` turns regions into masks.
``images`` is the folder where a user says that the images are, or None. A reader of a format with lines has a third argument
``line_width`` (pixels, 0.0 leaves lines out); :func:`.read_export` hands on any such option of ``mmseg-semi init``.
:class:`.files.ImageFiles` finds the images that an export names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Region:
    """Pixels of one class in one image, as a person or a tool marked them.

    Attributes:
        label: The class; None for pixels that training ignores (COCO's crowds, regions marked as unknown).
        rings: Polygons, each (n, 2) float: x, y in pixels of the image, the origin in the upper left corner of the first pixel. The
            region is their union, whatever their direction: a ring is no hole.
        mask: (h, w) bool, or a function without arguments that gives it, so that the masks of a large export are not in memory all
            together; or None. A region has rings or a mask.
        offset: (x, y) of the mask's first pixel in the image.
        order: Where regions overlap, the larger order is on top; equal orders: the later one.
    """

    label: str | None
    rings: tuple[np.ndarray, ...] = ()
    mask: np.ndarray | Callable[[], np.ndarray] | None = None
    offset: tuple[int, int] = (0, 0)
    order: float = 0.0


@dataclass
class AnnotatedImage:
    """One image of an export.

    Attributes:
        name: Its path as the export writes it, with '/'; names the image in tables and errors.
        path: The file, or None if it is not there.
        size: (width, height) as the export writes it, or None if it does not.
        regions: In the order of the export.
        mask: A finished mask in place of regions (exports of mask images), or None.
        annotated: False for an image without annotation: it becomes an unlabelled image. An annotated image may have no
            region, if the format can say that somebody looked at it and found nothing.
        part: 'train', 'val' or 'test', if the export divides its images; else None.
        content: Gives the bytes of the image's file, if the export carries them and ``path`` is None; else None.
    """

    name: str
    path: Path | None
    size: tuple[int, int] | None = None
    regions: list[Region] = field(default_factory=list)
    mask: Path | None = None
    annotated: bool = True
    part: str | None = None
    content: Callable[[], bytes] | None = None


@dataclass
class Export:
    """All that was read from an export.

    Attributes:
        format: The format's name for tables, such as 'COCO'.
        source: The file or folder that was read; errors name it.
        classes: Names in the order of the export, without a class for the background.
        images: Sorted by name.
        overlap: One sentence: which region is on top where two overlap.
        unmarked: What pixels outside of all regions are by the habit of this format, 'background' or 'ignore', and why.
        mask_values: For exports of finished masks: class -> its value (int) or colour ('#rrggbb') in the masks, or several, as ``classes``
            of docs/custom_data.md. The class of unmarked pixels is among them, if the export names one.
        ignore_values: For exports of finished masks: values or colours of pixels that training ignores; None for 255, unless a class
            has it.
        unmarked_class: The class in ``mask_values`` of unmarked pixels, such as 'background', or None.
        colours: Class -> '#rrggbb', as far as the export has them.
        version: Of the format or of the tool, as the export says it, for tables; may be empty.
        counts: What was counted on the way and belongs in the table: text, such as 'regions of two points, left out' -> number.
    """

    format: str
    source: Path
    classes: list[str]
    images: list[AnnotatedImage]
    overlap: str
    unmarked: tuple[str, str]
    mask_values: dict[str, Any] = field(default_factory=dict)
    ignore_values: list[Any] | None = None
    unmarked_class: str | None = None
    colours: dict[str, str] = field(default_factory=dict)
    version: str = ''
    counts: Counter = field(default_factory=Counter)
