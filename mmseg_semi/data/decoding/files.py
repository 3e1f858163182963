"""Reading the bytes of an image or mask file, and the errors of a file that cannot be read."""

from __future__ import annotations

import mmengine.fileio as fileio
from PIL import Image, UnidentifiedImageError

from mmseg_semi.data.names import read_bytes
from mmseg_semi.errors import UnreadableFileError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
"""Usual endings of images, in lower case; the tools look for them in a folder of images."""

Image.init()  # registers all of Pillow's formats
ANY_IMAGE_SUFFIXES = frozenset(
    # some of the formats that Pillow registers hold no pixels
    {s for s, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    - {'.eps', '.ps', '.emf', '.wmf', '.mpg', '.mpeg', '.h5', '.hdf', '.bufr', '.grib'}
    # only OpenCV reads these
    | {'.exr', '.hdr', '.pic', '.pxm', '.sr', '.jp2'}
    # an array of NumPy
    | {'.npy'}
)
"""Endings of all images that are read, in lower case; own data may have any."""


def read_file(
    path: str,
    kind: str,
    backend_args: dict | None = None,
    span: tuple[str, int, int] | None = None,
) -> bytes:
    """Read the bytes of an image or mask.

    Args:
        path: The file; errors name it.
        kind: 'image' or 'mask'; errors name it.
        backend_args: File backend of MMEngine, None for the local disk.
        span: (file, start, stop) where the image is a part of a larger file, such as a tar shard.
            None reads all of ``path``.

    Raises:
        UnreadableFileError: If the file does not exist, cannot be read, or ends before the span does.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + '/mask.png'
        >>> _ = open(path, 'wb').write(b'0123')
        >>> read_file(path, 'mask'), read_file('a name', 'image', span=(path, 1, 3))
        (b'0123', b'12')
    """
    try:
        if not span:
            return fileio.get(path, backend_args=backend_args)
        content = read_bytes(*span)
        if len(content) < span[2] - span[1]:
            raise UnreadableFileError(
                f'{kind} {path} lies beyond the end of {span[0]}; copy the file again, or write its index again (mmseg-semi shards '
                f'index {span[0]})'
            )
        return content
    except FileNotFoundError as error:
        raise UnreadableFileError(
            f'{kind} {path} does not exist; add the file, or take its name out of the list'
        ) from error
    except OSError as error:
        raise UnreadableFileError(f'{kind} {path} cannot be read: {error}') from error


_INSTEAD = (
    (
        b'version https://git-lfs',
        ', but a pointer of Git LFS: git lfs pull fetches the file itself',
    ),
    (b'<!doctype html', ', but a web page'),
    (b'<html', ', but a web page'),
)


def _instead(content: bytes) -> str:
    """What often has an image's name and is none, for an error; empty for other contents."""
    start = content[:64].lstrip().lower()
    return next((words for begin, words in _INSTEAD if start.startswith(begin)), '')


def unreadable(
    path: str, kind: str, content: bytes, reason: Exception | str
) -> UnreadableFileError:
    """Make the error of a file that was read but cannot be decoded.

    Args:
        path: The file.
        kind: 'image' or 'mask'.
        content: Its bytes; the error gives their number.
        reason: The decoder's exception, or what was wrong.

    Example:
        >>> str(unreadable('a.png', 'image', b'', 'it is empty')).partition(';')[0]
        'image a.png (0 bytes) cannot be decoded (it is empty)'
    """
    if isinstance(reason, UnidentifiedImageError):  # its text shows the address of a buffer
        reason = 'no image format that Pillow knows' + _instead(content)
    reason = ' '.join(str(reason).split()) or type(reason).__name__
    reason = reason if content else 'it is empty'
    return UnreadableFileError(
        f'{kind} {path} ({len(content)} bytes) cannot be decoded ({reason}); replace the file, or '
        'take its name out of the list'
    )
