"""Images of a project that are not grey or in colour with 8 bits: what their bands are, and their statistics."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from mmseg_semi.data.bands import Bands
from mmseg_semi.data.decoding import decode_bands, decode_deep_colour, read_file, tiff_layout
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.band_statistics import measure_bands, write_bands

_TAGGED_RGB = 2


def needs_bands(content: bytes, path: str) -> bool:
    """Whether an image is anything but 8 bits of grey or colour, so that its values need a range.

    Args:
        content: The file.
        path: Its path; errors name it.

    Raises:
        UnreadableFileError: If no decoder reads the file.
    """
    try:
        return decode_deep_colour(content, path)[0] is not None
    except SetupError:
        return True  # as many bands as no photograph has


def describe_bands(
    data_file: Path,
    colour: Sequence[int] | None = None,
    nodata: float | None = None,
    progress: Callable | None = None,
) -> str | None:
    """Write the key ``bands`` into the data file of a project, if its images need one.

    The first labelled image decides whether they do; another image that differs from it is an error.

    Args:
        data_file: The project's ``data.yaml``, changed in place.
        colour: The option ``--colour``: red, green and blue among the bands, counted from 0. None takes
            the first three of a file that says that it is in colour, and no colour otherwise.
        nodata: The option ``--nodata``: value of pixels without data.
        progress: Wraps the images that are measured, with their number; None for no display.

    Returns:
        str | None: What was found, for the table; None if the images need no bands.

    Raises:
        SetupError: If an option is given without need, or as :func:`.measure_bands`.
    """
    own = OwnData(data_file)
    path = own.files('labeled')[0]['img_path']
    content = read_file(path, 'image')
    if not needs_bands(content, path) and colour is None and nodata is None:
        return None
    values = decode_bands(content, path)[0]
    count = values.shape[2]
    layout = tiff_layout(io.BytesIO(content))
    if colour is None and _is_colour(path, count, layout and layout.photometric):
        colour = (0, 1, 2)
    key = dict(count=count, colour=colour and list(colour), nodata=nodata)
    bands = Bands.of({k: v for k, v in key.items() if v is not None}, '--colour and --nodata')
    write_bands(data_file, bands)
    options = () if progress is None else (500, 0, progress)
    found = measure_bands(OwnData(data_file), *options)
    write_bands(data_file, found.bands)
    shown = 'none are colours' if colour is None else f'{", ".join(map(str, colour))} are colours'
    missing = f'; {found.missing:.1%} of the pixels have no data' if found.missing else ''
    return (
        f'{count} of {values.dtype}, {shown} (--colour R G B changes it); ranges, means and deviations of '
        f'{found.images} images are in data.yaml{missing}'
    )


def _is_colour(path: str, count: int, photometric: int | None) -> bool:
    """Whether a file says itself that its first three bands are red, green and blue."""
    if photometric is not None:
        return photometric == _TAGGED_RGB and count >= 3
    return count in (3, 4) and not path.lower().endswith('.npy')
