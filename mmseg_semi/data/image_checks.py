"""What own images are refused for before the first iteration: files that no decoder reads, folders in each other's place, a range of other values.

The first two look at every file that :func:`.remarks_on_images` reads anyway, and at a few masks.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmseg_semi.data.decoding.bands import decode_npy, is_npy
from mmseg_semi.data.decoding.files import read_file, unreadable
from mmseg_semi.data.decoding.images import (
    decode_deep_colour,
    decode_image,
    decode_with_opencv,
)
from mmseg_semi.data.decoding.tiff import tiff_layout
from mmseg_semi.data.remarks import has_few_levels
from mmseg_semi.errors import SetupError

_ENDS = {'PNG': b'IEND\xaeB`\x82', 'JPEG': b'\xff\xd9'}


def check_readable(path: str, content: bytes) -> None:
    """Refuse a file that no decoder will read. Pixels are decoded only of a PNG or JPEG that does not end as such a file must.

    Args:
        path: The file; errors name it.
        content: Its bytes.

    Raises:
        UnreadableFileError: It is empty, of no known format, or cut short.

    Example:
        >>> from mmseg_semi.errors import UnreadableFileError
        >>> try:
        ...     check_readable('a.png', b'')
        ... except UnreadableFileError as error:
        ...     str(error).partition(';')[0]
        'image a.png (0 bytes) cannot be decoded (it is empty)'
    """
    if is_npy(content):
        decode_npy(content, path)
        return
    if content and tiff_layout(io.BytesIO(content)) is not None:
        return  # of which there are too many kinds to tell by the header
    try:
        with Image.open(io.BytesIO(content)) as img:
            end = _ENDS.get(img.format)
        if end is not None and not content.endswith(end):
            decode_image(content)
    except UnidentifiedImageError as error:
        if decode_with_opencv(content) is None:
            raise unreadable(path, 'image', content, error) from error
    except Exception as error:  # each decoder raises its own kinds
        raise unreadable(path, 'image', content, error) from error


def check_not_exchanged(images: Sequence[str], masks: Sequence[str], source: str) -> None:
    """Refuse masks that look like photographs beside images that look like masks.

    Args:
        images: Paths of labelled images.
        masks: Paths of their masks.
        source: The data file; the error names it.

    Raises:
        SetupError: A few of them all look so.
    """
    some = range(0, len(images), max(1, len(images) // 3))[:3]
    flat = all(has_few_levels(images[i]) for i in some)
    if flat and not any(has_few_levels(masks[i]) for i in some):
        raise SetupError(
            f'{source}: labeled.images, such as {images[0]}, have a few levels as masks have, and labeled.masks, such as '
            f'{masks[0]}, have many as photographs have; exchange labeled.images and labeled.masks'
        )


def check_value_range(paths: Sequence[str], value_range: Sequence[float], source: str) -> None:
    """Refuse a range in which no pixel of some images lies: all of them would become one grey.

    Args:
        paths: Of a few images.
        value_range: (low, high).
        source: The data file; the error names it.

    Raises:
        SetupError: All of these images lie below the range, or above it. Files that cannot be read do not count.
    """
    low, high = value_range
    found = []
    for path in paths:
        try:
            deep, _ = decode_deep_colour(read_file(path, 'image'), path)
        except Exception:  # said when the image is loaded
            continue
        if deep is not None:
            found.append((float(deep.min()), float(deep.max()), Path(path)))
    if found and all(most <= low or least >= high for least, most, _ in found):
        least, most, path = found[0]
        raise SetupError(
            f"{source}: 'value_range' is [{low:g}, {high:g}], but {path} holds {least:g} to {most:g}, and {len(found)} images that "
            'were looked at lie outside of the range, so that they would be one grey; correct the range'
        )
