"""Decoding images to uint8 BGR as Pillow does, in less time."""

from __future__ import annotations

import io

import cv2
import mmcv
import numpy as np
from PIL import Image

from mmseg_semi.data.decoding.bands import decode_bands, is_npy
from mmseg_semi.data.decoding.files import unreadable
from mmseg_semi.data.decoding.png import PlainPNG
from mmseg_semi.data.decoding.tiff import tiff_layout
from mmseg_semi.errors import SetupError

_PNG_END = b'IEND\xaeB`\x82'
_JPEG_END = b'\xff\xd9'


def decode_image(content: bytes) -> np.ndarray:
    """Decode a file's bytes as Pillow does, in less time.

    OpenCV decodes 8-bit colour JPEG and PNG directly to BGR, with the same pixels as Pillow. But it
    fills the missing part of a truncated file with grey, where Pillow raises an error. OpenCV
    therefore gets complete files of these two kinds only, and Pillow decodes all others.

    Args:
        content: The file.

    Returns:
        np.ndarray: (H, W, 3) uint8 BGR, turned as its orientation tag says.

    Raises:
        Exception: Any of Pillow's kinds, if this is no image or is truncated.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new('RGB', (2, 1), (255, 0, 1)).save(file, 'PNG')
        >>> decode_image(file.getvalue()).tolist()
        [[[1, 0, 255], [1, 0, 255]]]
    """
    header = Image.open(io.BytesIO(content))
    if header.mode == 'RGB' and _is_complete(header, content):
        img = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if img is not None:
            return img
    return mmcv.imfrombytes(content, backend='pillow')


def _is_complete(header: Image.Image, content: bytes) -> bool:
    """Whether the file is of a kind that both decoders read alike and ends as that kind must."""
    if header.format == 'JPEG':
        return content.endswith(_JPEG_END)
    if header.format == 'PNG':
        return content[24] == 8 and content.endswith(_PNG_END)  # byte 24: bits per channel
    return False


def decode_deep_image(content: bytes) -> np.ndarray | None:
    """Decode an image that :func:`decode_image` would refuse or reduce to 8 bits.

    Such images have more than 8 bits per channel, fractions, or a format that only OpenCV reads.

    Args:
        content: The file.

    Returns:
        np.ndarray: (H, W) or (H, W, channels), BGR, with the file's own type and values; None if
        :func:`decode_image` reads the file without loss.

    Raises:
        Exception: Any of Pillow's kinds, if neither decoder reads the file.

    Example:
        >>> file = io.BytesIO()
        >>> Image.fromarray(np.uint16([[1000, 2]])).save(file, 'PNG')
        >>> decode_deep_image(file.getvalue()).tolist()
        [[1000, 2]]
    """
    try:
        img = Image.open(io.BytesIO(content))
    except OSError as error:
        array = decode_with_opencv(content)
        if array is None:
            raise error
        return array
    if img.mode in ('I', 'F') or img.mode.startswith('I;'):
        return np.asarray(img)
    # Pillow reduces deep colour images to 8 bits without a warning
    bits = 8
    if img.format == 'PNG':
        bits = content[24]
    elif img.format == 'TIFF':
        bits = max(img.tag_v2.get(258, (8,)))
    elif img.format in ('JPEG2000', 'PPM'):
        bits = 16
    if bits <= 8:
        return None
    img.load()  # raises for a truncated file, which OpenCV would fill
    array = decode_with_opencv(content)
    return None if array is None or array.dtype == np.uint8 else array


def decode_deep_colour(content: bytes, path: str) -> tuple[np.ndarray | None, float | None]:
    """As :func:`decode_deep_image`, for images that must be grey or in colour, of any layout.

    Args:
        content: The file; an array of NumPy, too.
        path: Its path; errors name it.

    Returns:
        tuple: (H, W, 1) or (H, W, 3) BGR with the file's own type and values, or None if
        :func:`decode_image` reads the file without loss; and GDAL's value of pixels without data, None
        if the file names none.

    Raises:
        SetupError: If the image has other bands than grey, or colours and alpha.
        Exception: Any of Pillow's kinds, if no decoder reads the file.
    """
    layout = tiff_layout(io.BytesIO(content))
    nodata = layout.nodata if layout else None
    if is_npy(content) or (layout is not None and not layout.is_plain):
        deep = decode_bands(content, path)[0]
        if deep.shape[2] > 2:
            deep = deep[..., [2, 1, 0, *range(3, deep.shape[2])]]
        alpha = layout is not None and layout.has_alpha
    else:
        alpha = layout is None or layout.bands < 4 or layout.has_alpha
        if not alpha:
            raise _other_bands(path, layout.bands)
        deep = decode_deep_image(content)
    if deep is None:
        return None, nodata
    deep = deep[..., None] if deep.ndim == 2 else deep
    if deep.shape[2] not in (1, 3, 4) or (deep.shape[2] == 4 and not alpha):
        raise _other_bands(path, deep.shape[2])
    return deep[..., :3], nodata


def _other_bands(path: str, bands: int) -> SetupError:
    return SetupError(
        f'image {path} has {bands} bands, none of them tagged as alpha, expected 1 or 3; to train on '
        f'all of them, write bands: {{count: {bands}}} in the data file, with three of them, bands: '
        f'{{count: {bands}, use: [0, 1, 2]}} (docs/custom_data.md)'
    )


def decode_with_opencv(content: bytes) -> np.ndarray | None:
    """Decode a file's bytes by OpenCV, values and channels unchanged (BGR); None if it cannot."""
    if not content:  # for which OpenCV raises an error
        return None
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


class DeferredImage:
    """A PNG that is decoded once the crop is known, so that the rest of it is never decoded.

    :class:`.LoadImage` makes it with ``defer=True``, and :class:`.RandomScaleCrop` decodes it. Any
    other use of its pixels raises SetupError.

    Args:
        path: Path of the file; errors name it.
        content: The file.
        png: The same file, opened.

    Attributes:
        shape: (H, W, 3), as of the decoded array.
    """

    def __init__(self, path: str, content: bytes, png: PlainPNG) -> None:
        self.shape = (png.height, png.width, 3)
        self._path, self._content, self._png = path, content, png

    def corner(self, height: int, width: int) -> np.ndarray:
        """Decode at least the upper left (height, width) pixels.

        Returns:
            np.ndarray: uint8 BGR, either (height, width, 3) or the complete image.

        Raises:
            UnreadableFileError: If the file is damaged.
        """
        img = self._png.corner(height, width)
        if img is None:
            try:
                img = decode_image(self._content)
            except Exception as error:  # each decoder raises its own kinds
                raise unreadable(self._path, 'image', self._content, error) from error
        return img

    def __array__(self, *args, **kwargs) -> np.ndarray:
        raise SetupError(
            'a transform between LoadImage(defer=True) and RandomScaleCrop needs the pixels of '
            f'{self._path}, which are not decoded yet; set defer=False, or move the transform'
        )

    def __getattr__(self, name: str):
        if name.startswith('_'):  # protocols that other libraries look for
            raise AttributeError(name)
        return self.__array__()
