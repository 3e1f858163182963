"""Reading images of any number of bands, with their own values and in their own order."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from mmseg_semi.data.decoding.files import unreadable
from mmseg_semi.data.decoding.tiff import decode_tiff, tiff_layout
from mmseg_semi.errors import SetupError

_NPY = b'\x93NUMPY'


def is_npy(content: bytes) -> bool:
    """Whether a file's bytes begin as those of a NumPy array do."""
    return content[:6] == _NPY


def decode_npy(content: bytes, path: str, kind: str = 'image') -> np.ndarray:
    """Decode an array that ``numpy.save`` has written; arrays of Python objects are refused.

    Args:
        content: The file.
        path: Its path; errors name it.
        kind: 'image' or 'mask'; errors name it.

    Raises:
        UnreadableFileError: If it is damaged or no array of numbers.
    """
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises several kinds
        raise unreadable(path, kind, content, error) from error
    if array.dtype.kind not in 'buif':
        raise unreadable(path, kind, content, f'it holds values of the type {array.dtype}')
    if not array.size:
        raise unreadable(
            path, kind, content, f'it is an array of {_text(array.shape)}, without a pixel'
        )
    return array


def _text(shape: tuple[int, ...]) -> str:
    return ' x '.join(map(str, shape))


def decode_bands(
    content: bytes, path: str, count: int | None = None
) -> tuple[np.ndarray, float | None]:
    """Decode all bands of an image.

    Args:
        content: A TIFF file, an array of NumPy, or any image that Pillow or OpenCV reads.
        path: Its path; errors name it.
        count: Number of bands, which tells (bands, H, W) from (H, W, bands) in an array of NumPy.
            None takes the axis with the fewest entries of the first and the last one.

    Returns:
        tuple: (H, W, bands) with the file's own type, values and order (colour files: red, green,
        blue, alpha); and GDAL's value of pixels without data, None if the file names none.

    Raises:
        UnreadableFileError: If the file is damaged.
        SetupError: If it needs a package that is not installed, or is turned by a tag.

    Example:
        >>> file = io.BytesIO()
        >>> np.save(file, np.zeros((5, 20, 30), np.uint16))
        >>> decode_bands(file.getvalue(), 'a.npy', count=5)[0].shape
        (20, 30, 5)
    """
    if is_npy(content):
        return _last_axis(decode_npy(content, path), path, count), None
    layout = tiff_layout(io.BytesIO(content))
    if layout is not None:
        if layout.orientation != 1:
            raise SetupError(
                f'image {path} is turned by its orientation tag ({layout.orientation}), which images '
                'of bands must not be; store it upright'
            )
        if not layout.is_plain or layout.pages > 1:
            return decode_tiff(content, path, layout), layout.nodata
    nodata = layout.nodata if layout else None
    try:
        img = Image.open(io.BytesIO(content))
        if img.mode in ('L', 'LA', 'RGB', 'RGBA') and _bits(img, content) <= 8:
            array = np.asarray(img)
        elif img.mode in ('I', 'F') or img.mode.startswith('I;'):
            array = np.asarray(img)
        elif img.mode in ('RGB', 'RGBA', 'LA', 'L'):
            img.load()  # raises for a truncated file, which OpenCV would fill
            array = _by_opencv(content)
        else:
            array = np.asarray(img.convert('RGBA' if 'A' in img.mode else 'RGB'))
    except OSError as error:
        array = _by_opencv(content)
        if array is None:
            raise unreadable(path, 'image', content, error) from error
    if array is None:
        raise unreadable(path, 'image', content, 'no decoder reads its bands')
    array = array[..., None] if array.ndim == 2 else array
    if layout is not None and layout.bands not in (1, array.shape[2]):
        array = decode_tiff(content, path, layout)  # Pillow drops a fourth band that is no alpha
    return array, nodata


def _bits(img: Image.Image, content: bytes) -> int:
    """Bits of a sample, which Pillow reduces to 8 in colour images."""
    if img.format == 'PNG':
        return content[24]
    if img.format == 'TIFF':
        return max(img.tag_v2.get(258, (8,)))
    return 16 if img.format in ('JPEG2000', 'PPM') else 8


def _by_opencv(content: bytes) -> np.ndarray | None:
    """All channels by OpenCV, in the order red, green, blue, alpha; None if it cannot."""
    if not content:  # for which OpenCV raises an error
        return None
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim == 2 or array.shape[2] < 3:
        return array
    order = [2, 1, 0, *range(3, array.shape[2])]
    return np.ascontiguousarray(array[..., order])


def _last_axis(array: np.ndarray, path: str, count: int | None) -> np.ndarray:
    """(H, W, bands) of an array with its bands first, last or left out."""
    if array.ndim == 2:
        return array[..., None]
    if array.ndim != 3:
        raise SetupError(
            f'image {path} is an array of {array.ndim} axes {array.shape}, expected (height, width, '
            'bands) or (bands, height, width); save one image a file'
        )
    first, last = array.shape[0], array.shape[2]
    fits = last == count if count and count in (first, last) else last <= first
    return array if fits else np.moveaxis(array, 0, -1)
