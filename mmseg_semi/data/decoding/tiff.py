"""TIFF: what its header says about bands and pages, and the decoding of what Pillow and OpenCV read wrongly.

Tried with Pillow 13.0 and OpenCV 5.0: OpenCV mixes up the values of three or four bands of more than 8
bits that are stored plane by plane, and gives the first band alone of several that are tagged grey;
Pillow drops further bands of 8-bit colour files. None of them raises an error. The header decides
therefore who decodes a file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mmseg_semi.data.decoding.files import unreadable
from mmseg_semi.errors import SetupError

_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two: BigTIFF
_COLOUR = (2, 5, 6, 8)  # photometric: RGB, CMYK, YCbCr, L*a*b*
_WHITE_IS_ZERO = 0
_REDUCED_OR_MASK = 5  # bits of NewSubfileType: an overview or a mask, no further page
_GDAL_NODATA = 42113


@dataclass(frozen=True)
class TiffLayout:
    """The header of a TIFF file's first page.

    Args:
        height: In pixels, as stored.
        width: In pixels, as stored.
        bands: Samples of a pixel.
        bits: Largest number of bits of a sample.
        photometric: Tag 262; 0 is "white is zero", 1 grey, 2 RGB, 3 a palette.
        planar: Whether bands are stored one after the other.
        extra: Tag 338, a number for each band beyond the colours: 0 unspecified, 1 and 2 alpha.
        orientation: Tag 274, 1 for upright.
        pages: Number of pages, without overviews and transparency masks.
        nodata: GDAL's tag 42113, the value of pixels without data; None if there is none.
    """

    height: int
    width: int
    bands: int
    bits: int
    photometric: int
    planar: bool
    extra: tuple[int, ...]
    orientation: int
    pages: int
    nodata: float | None

    @property
    def is_plain(self) -> bool:
        """Whether Pillow and OpenCV read all of its bands right."""
        if self.bands == 1:
            return True
        if self.photometric in _COLOUR:
            return self.bands in (3, 4) and not (self.planar and (self.bits > 8 or self.bands > 3))
        return self.bands == 2 and self.bits == 8 and self.extra[-1:] in ((1,), (2,))

    @property
    def has_alpha(self) -> bool:
        """Whether the last band is transparency; so is a fourth one that the file does not describe."""
        return self.extra[-1:] in ((1,), (2,)) or (
            self.bands == 4 and self.photometric in _COLOUR and not self.extra
        )

    @property
    def is_inverted(self) -> bool:
        """Whether 0 is stored for white, so that decoders give the complement of the stored numbers."""
        return self.photometric == _WHITE_IS_ZERO

    def __str__(self) -> str:
        kind = 'colour' if self.photometric in _COLOUR else 'grey'
        order = ', stored one after the other' if self.planar else ''
        return f'{self.bands} bands of {self.bits} bits, tagged {kind}{order}'


def tiff_layout(file: BinaryIO) -> TiffLayout | None:
    """Read the header of a TIFF file.

    Args:
        file: Open at its beginning.

    Returns:
        TiffLayout: None if the file is no TIFF, or its header is damaged.

    Example:
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new('RGB', (4, 3)).save(file, 'TIFF')
        >>> _ = file.seek(0)
        >>> str(tiff_layout(file))
        '3 bands of 8 bits, tagged colour'
    """
    header = file.read(8)
    if header[:4] not in _MAGIC:
        return None
    if header[2] == 43 or header[3] == 43:
        header += file.read(8)
    try:
        first = directory = ImageFileDirectory_v2(header)
        pages, offset, seen = 0, directory.next, set()
        while offset and offset not in seen:
            seen.add(offset)
            file.seek(offset)
            directory.load(file)
            pages += not directory.get(254, 0) & _REDUCED_OR_MASK
            offset = directory.next
            if offset:
                directory = ImageFileDirectory_v2(header)
        return _layout(first, pages)
    except Exception:  # Pillow raises several kinds; whoever decodes the file says what is wrong
        return None


def _layout(tags: ImageFileDirectory_v2, pages: int) -> TiffLayout:
    bands = int(tags.get(277, 1))
    extra = tags.get(338, ())
    return TiffLayout(
        height=int(tags[257]),
        width=int(tags[256]),
        bands=bands,
        bits=max(_numbers(tags.get(258, 1))),
        photometric=int(tags.get(262, 1)),
        planar=int(tags.get(284, 1)) == 2 and bands > 1,
        extra=_numbers(extra),
        orientation=int(tags.get(274, 1)),
        pages=pages,
        nodata=_nodata(tags.get(_GDAL_NODATA)),
    )


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)


def _nodata(text: str | bytes | None) -> float | None:
    if text is None:
        return None
    text = text.decode('latin-1') if isinstance(text, bytes) else str(text)
    try:
        return float(text.strip(' \0'))
    except ValueError:  # GDAL may write any text; a value that no number equals marks nothing
        return None


def decode_tiff(content: bytes, path: str, layout: TiffLayout) -> np.ndarray:
    """Decode all bands of a TIFF file, by tifffile, or by rasterio where tifffile lacks a codec.

    Args:
        content: The file.
        path: Its path; errors name it.
        layout: From :func:`tiff_layout`.

    Returns:
        np.ndarray: (H, W, bands) in the file's order and type, of the first page; of a file of
        several pages of one band each, (H, W, pages).

    Raises:
        SetupError: If a package is missing.
        UnreadableFileError: If the file is damaged.
    """
    try:
        import tifffile
    except ImportError:
        return _by_rasterio(content, path, f'its {layout}')
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            pages = [page for page in file.pages if not page.tags.valueof(254, 0) & 5]
            if layout.bands == 1:
                planes = [page.asarray() for page in pages]
                if len({plane.shape for plane in planes}) > 1:
                    planes = planes[:1]
                return np.stack(planes, axis=-1)
            array = pages[0].asarray()
    except ValueError as error:
        if 'imagecodecs' in str(error):
            return _by_rasterio(content, path, 'its compression')
        raise unreadable(path, 'image', content, error) from error
    except Exception as error:  # tifffile and its codecs raise their own kinds
        raise unreadable(path, 'image', content, error) from error
    return np.moveaxis(array, 0, -1) if layout.planar else array


def _by_rasterio(content: bytes, path: str, reason: str) -> np.ndarray:
    try:
        from rasterio.io import MemoryFile
    except ImportError as error:
        raise SetupError(
            f'image {path} cannot be read by Pillow or OpenCV for {reason}; install a reader of '
            "such files: pip install 'mmseg_semi[bands]'"
        ) from error
    try:
        with MemoryFile(content) as memory, memory.open() as file:
            return np.moveaxis(file.read(), 0, -1)
    except Exception as error:
        raise unreadable(path, 'image', content, error) from error
