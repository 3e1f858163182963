"""What a prediction becomes on the disk: masks, overlays, confidence, and a table of areas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file, write_whole
from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime.pictures import overlay_labels
from mmseg_semi.runtime.prediction.geo import geo_writer
from mmseg_semi.runtime.prediction.predictor import Block
from mmseg_semi.runtime.prediction.sources import ImageSource, picture_of

OVERLAY_SIDE = 4096
"""Overlays of larger images show every second, third, ... pixel."""

_IGNORED_COLOUR = (200, 200, 200)


class MaskCode:
    """How classes are written into masks.

    Args:
        kind: 'index': values are class indices, ignored pixels 255. 'palette': the same values with a colour table.
            'own': the values or colours that the own data's file gives each class, the first one if there are several,
            so that a prediction can come back as a label.
        palette: K colours.
        own: The user's own data, for 'own'.

    Attributes:
        table: (256,) uint8 or uint16, or (256, 3) uint8: class index -> what is written.
        ignore: What is written for ignored pixels; None if the own data have no colour for them.

    Raises:
        SetupError: If 'own' is asked for and there is no file, or it has another number of classes.

    Example:
        >>> own = OwnData(dict(labeled=dict(images='a', masks='b'), classes=dict(soil=7, crop='100-120')))
        >>> MaskCode('own', [[0, 0, 0]] * 2, own).table[:2].tolist()
        [7, 100]
    """

    def __init__(
        self, kind: str, palette: Sequence[Sequence[int]], own: OwnData | None = None
    ) -> None:
        self.kind, self.palette = kind, palette
        self.ignore: Any = IGNORE
        self.table = np.arange(256, dtype=np.uint8)
        if kind != 'own':
            return
        if own is None:
            raise SetupError(
                "--masks own: no data file says what the classes are in the user's own masks; name it by --data data.yaml"
            )
        if len(own.mask_map.names) != len(palette):
            raise SetupError(
                f'--masks own: {own.source} has {len(own.mask_map.names)} classes, but the model has {len(palette)}; give '
                'the file that it was trained with'
            )
        entries, self.ignore = own.mask_map.written()
        if own.mask_map.by_color:
            self.table = np.zeros((256, 3), np.uint8)
            for index, colour in enumerate(entries):
                self.table[index] = _channels(colour)
            if self.ignore is not None:
                self.table[IGNORE] = self.ignore = _channels(self.ignore)
            return
        values = [*entries, self.ignore] if self.ignore is not None else entries
        self.table = np.zeros(256, np.uint8 if max(values) < 256 else np.uint16)
        self.table[: len(entries)] = entries
        if self.ignore is not None:
            self.table[IGNORE] = self.ignore

    def encode(self, labels: np.ndarray, path: str = '') -> np.ndarray:
        """(h, w) labels as they are written, (h, w) or (h, w, 3).

        Raises:
            SetupError: If there are ignored pixels and nothing stands for them.
        """
        if self.kind != 'own':
            return labels
        if self.ignore is None and (labels == IGNORE).any():
            raise SetupError(
                f"{path} has pixels without data, but the data file has no 'ignore', by which its masks could say so; add one"
            )
        return self.table[labels]

    @property
    def colour_table(self) -> list[int] | None:
        """768 numbers, for a palette PNG."""
        if self.kind != 'palette':
            return None
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        table[IGNORE] = _IGNORED_COLOUR
        return table.ravel().tolist()


def _channels(colour: str) -> tuple[int, int, int]:
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


class Outputs:
    """Files of one prediction, filled block by block.

    Args:
        folder: The output folder; there are ``masks``, ``overlays`` and ``confidence`` below it.
        name: Path of the image's outputs below these folders, without suffix.
        source: The image.
        what: Some of 'masks', 'overlays', 'confidence'.
        code: How masks are written.
        keep: Whether to keep the labels in memory, see :attr:`labels`.

    Attributes:
        counts: (256,) pixels of each label.
        files: Paths that were written.
        labels: (H, W) uint8, of an ordinary image or with ``keep``.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        source: ImageSource,
        what: Sequence[str],
        code: MaskCode,
        keep: bool = False,
    ) -> None:
        self.folder, self.name, self.source, self.what, self.code = folder, name, source, what, code
        self.counts = np.zeros(256, np.int64)
        self.files: list[Path] = []
        self._geo = getattr(source, 'dataset', None)
        self._stack = ExitStack()
        height, width = source.size
        whole = keep or (self._geo is None and 'masks' in what)
        self.labels = np.zeros((height, width), np.uint8) if whole else None
        self._confidence = None
        if 'confidence' in what and self._geo is None:
            self._confidence = np.zeros((height, width), np.uint8)
        self._step = -(-max(height, width) // OVERLAY_SIDE)
        self._overlay = None
        if 'overlays' in what:
            size = -(-height // self._step), -(-width // self._step)
            self._overlay = np.zeros((*size, 3), np.uint8)

    def __enter__(self) -> Outputs:
        self._mask_writer = self._confidence_writer = None
        if self._geo is not None:
            if 'masks' in self.what:
                self._mask_writer = self._stack.enter_context(self._geo_masks())
            if 'confidence' in self.what:
                path = self._path('confidence', '.tif')
                self._confidence_writer = self._stack.enter_context(
                    geo_writer(path, self._geo, count=1, dtype='uint8', nodata=None)
                )
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self._finish()
        self._stack.__exit__(kind, error, traceback)

    def add(self, block: Block) -> None:
        """Take a finished part of the prediction."""
        top, left, labels, confidence = block
        height, width = labels.shape
        place = np.s_[top : top + height, left : left + width]
        self.counts += np.bincount(labels.ravel(), minlength=256)
        if self.labels is not None:
            self.labels[place] = labels
        if self._mask_writer is not None:
            self._mask_writer.write(top, left, self.code.encode(labels, self.source.path))
        if 'confidence' in self.what:
            grey = np.rint(confidence * 255).clip(0, 255).astype(np.uint8)
            if self._confidence_writer is not None:
                self._confidence_writer.write(top, left, grey)
            else:
                self._confidence[place] = grey
        if self._overlay is not None:
            self._draw(top, left, labels)

    def _draw(self, top: int, left: int, labels: np.ndarray) -> None:
        step = self._step
        down, across = -top % step, -left % step  # to the first pixels that are shown
        shown = labels[down::step, across::step]
        if not shown.size:
            return
        img = self.source.read(top, left, top + labels.shape[0], left + labels.shape[1])
        picture = picture_of(img[down::step, across::step], self.source.record)
        drawn = overlay_labels(picture, shown, self.code.palette)
        top, left = (top + down) // step, (left + across) // step
        self._overlay[top : top + shown.shape[0], left : left + shown.shape[1]] = drawn

    def _path(self, kind: str, suffix: str) -> Path:
        path = self.folder / kind / f'{self.name}{suffix}'
        self.files.append(path)
        return path

    def _geo_masks(self):
        table, code = self.code.table, self.code
        count = 3 if table.ndim == 2 else 1
        nodata = code.ignore if count == 1 else None
        colours = None
        if code.kind == 'palette':
            colours = {index: tuple(colour) for index, colour in enumerate(code.palette)}
        return geo_writer(
            self._path('masks', '.tif'),
            self._geo,
            count=count,
            dtype=str(table.dtype),
            nodata=nodata,
            colours=colours,
        )

    def _finish(self) -> None:
        if 'masks' in self.what and self._geo is None:
            mask = self.code.encode(self.labels, self.source.path)
            save_png(mask, self._path('masks', '.png'), self.code.colour_table)
        if self._confidence is not None:
            save_png(self._confidence, self._path('confidence', '.png'))
        if self._overlay is not None:
            with whole_file(self._path('overlays', '.jpg'), sync=False) as draft:
                Image.fromarray(self._overlay).save(draft, 'JPEG', quality=90)


def save_png(values: np.ndarray, path: Path, colours: list[int] | None = None) -> None:
    """Write a PNG: (h, w) of 8 or 16 bits, with a colour table if one is given, or (h, w, 3)."""
    image = Image.fromarray(np.ascontiguousarray(values))
    if colours is not None:
        image.putpalette(colours)
    with whole_file(path, sync=False) as draft:
        image.save(draft, 'PNG')


class AreaTable:
    """Areas by class of many images, as CSV: one row an image and class.

    Args:
        classes: Names of the classes.

    Example:
        >>> table = AreaTable(['soil', 'crop'])
        >>> counts = np.zeros(256, np.int64)
        >>> counts[:2] = 3, 1
        >>> table.add('a.png', counts, None)
        >>> print(table.text().splitlines()[2])
        a.png,crop,1,0.250000,
    """

    COLUMNS = ('image', 'class', 'pixels', 'share', 'square_metres')

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.total = np.zeros(256, np.int64)
        self._rows: list[tuple] = []

    def add(self, name: str, counts: np.ndarray, square_metres: float | None) -> None:
        """Add an image.

        Args:
            name: Of the image.
            counts: (256,) pixels of each label; ignored pixels count for no share.
            square_metres: Of a pixel, or None.
        """
        self.total += counts
        known = max(1, int(counts[: len(self.classes)].sum()))
        for index, label in enumerate(self.classes):
            pixels = int(counts[index])
            area = '' if square_metres is None else f'{pixels * square_metres:.10g}'
            self._rows.append((name, label, pixels, f'{pixels / known:.6f}', area))

    def text(self) -> str:
        """The table as CSV."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(self.COLUMNS)
        writer.writerows(self._rows)
        return out.getvalue()

    def write(self, path: Path) -> None:
        """Write the table."""
        write_whole(path, self.text())

    def summary(self) -> list[str]:
        """Lines with all images' pixels by class."""
        known = max(1, int(self.total[: len(self.classes)].sum()))
        width = max(map(len, self.classes))
        lines = [
            f'  {label:{width}}  {self.total[index]:>15,} pixels  {self.total[index] / known:7.2%}'
            for index, label in enumerate(self.classes)
        ]
        if self.total[IGNORE]:
            lines.append(f'  {"(no data)":{width}}  {self.total[IGNORE]:>15,} pixels')
        return lines
