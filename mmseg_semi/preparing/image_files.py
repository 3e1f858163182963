"""Read and write the single images and masks of a data set that is being converted.

Every file is written with :func:`mmseg_semi.files.whole_file`, without ``fsync``: a conversion
makes thousands of files, and the next run makes those again that a power failure damaged.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file, write_whole
from mmseg_semi.labels import IGNORE


def place(source: Path, target: Path) -> None:
    """Take a file over unchanged: as a hard link where the disk allows one, else as a copy."""
    with whole_file(target, sync=False) as draft:
        try:
            os.link(os.path.realpath(source), draft)
        except OSError:
            shutil.copyfile(source, draft)


def decode(content: bytes, name: str | Path) -> Image.Image:
    """Decode an image file.

    Args:
        content: Bytes of the file.
        name: Name of the file, for the error.

    Raises:
        SetupError: If the file is damaged or no image.
    """
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # each decoder raises its own kinds
        reason = ' '.join(str(error).split())
        if 'cannot identify image file' in reason:  # Pillow appends the address of the buffer
            reason = 'no image format that Pillow knows'
        raise SetupError(f'{name} cannot be decoded ({reason}); get the file again') from error
    return image


def write_labels(labels: np.ndarray, target: Path) -> None:
    """Write class indices of shape (H, W) as a PNG of one channel, without a palette."""
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint8)).save(buffer, 'PNG')
    write_whole(target, buffer.getvalue(), sync=False)


def check_classes(labels: np.ndarray, num_classes: int, name: str | Path) -> None:
    """Refuse a mask with a value that is neither a class nor the ignored label (255).

    Args:
        labels: (H, W) integers.
        num_classes: Number of classes.
        name: Name of the file, for the error.

    Raises:
        SetupError: If there is such a value, or the mask has several channels; the message names
            the file and the first wrong value.

    Example:
        >>> check_classes(np.array([[0, 20, 255]]), 21, 'mask.png')
    """
    if labels.ndim != 2:
        raise SetupError(f'{name} is in colour, expected class indices in one channel')
    wrong = labels[(labels >= num_classes) & (labels != IGNORE)]
    if wrong.size:
        raise SetupError(
            f'{name} holds the value {wrong[0]}, expected 0 to {num_classes - 1}, or {IGNORE} for '
            'ignored pixels'
        )
