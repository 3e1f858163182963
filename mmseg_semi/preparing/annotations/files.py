"""Finding the image files that an export names, and their sizes without decoding them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from PIL import Image, UnidentifiedImageError

from mmseg_semi.data.decoding import (
    ANY_IMAGE_SUFFIXES,
    decode_bands,
    decode_deep_image,
    decode_image,
    is_npy,
    tiff_layout,
    unreadable,
)
from mmseg_semi.errors import SetupError

BY_NAME = (
    'images found by their file name alone, in another folder than the export says: look at some'
)

_ORIENTATION = 0x0112
_TURNED_ALIKE = ('JPEG', 'MPO', 'PNG', 'WEBP')


def plain_name(name: str) -> str:
    """A path as an export writes it, with '/' and without drive, leading '/' or './'.

    Example:
        >>> plain_name(r'C:\\photos\\day 1\\a.jpg'), plain_name('/data/a.jpg'), plain_name('./b.png')
        ('photos/day 1/a.jpg', 'data/a.jpg', 'b.png')
    """
    path = PureWindowsPath(name)  # takes both separators
    return '/'.join(part for part in path.parts if part not in (path.anchor, path.drive, '.'))


def _is_absolute(name: str) -> bool:
    """Whether a name is a path from the root of some machine, whose folders mean nothing here."""
    return bool(PureWindowsPath(name).anchor)


def walk_images(folder: Path) -> Iterator[Path]:
    """Image files below a folder, sorted, links followed, hidden ones left out."""
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in sorted(files):
            if not name.startswith('.') and os.path.splitext(name)[1].lower() in ANY_IMAGE_SUFFIXES:
                yield Path(root, name)


class ImageFiles:
    """Finds the image files that an export names, below some folders.

    A name may be absolute, have folders or separators of another machine, or be a bare file name. The file whose last folders agree
    with most of the name is taken, of the first folder that has one.

    Args:
        folders: Where to look, the likeliest first; folders that do not exist are passed over.

    Attributes:
        by_name: Number of images that were found by their file name alone, though the export says a folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / 'a.jpg').touch()
        >>> ImageFiles([folder]).find(r'C:\\me\\a.jpg').name
        'a.jpg'
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [folder for folder in folders if folder.is_dir()]
        self.by_name = 0
        self._indices: dict[Path, dict[str, list[Path]]] = {}

    def find(self, name: str) -> Path | None:
        """The file of a name, or None if there is none.

        Raises:
            SetupError: If several files agree equally well with the name.
        """
        plain = plain_name(name)
        for folder in self.folders:
            if (folder / plain).is_file():
                return folder / plain
        if os.path.isabs(name) and Path(name).is_file():
            return Path(name)
        parts = plain.lower().split('/')
        for folder in self.folders:
            rated: dict[int, dict[Path, Path]] = {}
            for path in self._index(folder).get(parts[-1], []):
                theirs = path.as_posix().lower().split('/')
                agreeing = len(os.path.commonprefix([parts[::-1], theirs[::-1]]))
                rated.setdefault(agreeing, {}).setdefault(path.resolve(), path)
            if not rated:
                continue
            best = list(rated[max(rated)].values())
            if len(best) > 1:
                raise SetupError(
                    f'the export names the image {name}, and both {best[0]} and {best[1]} could be '
                    'it; name the folder of the right ones by --images'
                )
            self.by_name += max(rated) == 1 < len(parts) and not _is_absolute(name)
            return best[0]
        return None

    def _index(self, folder: Path) -> dict[str, list[Path]]:
        """Name of a file in lower case -> the files of this name below a folder."""
        if folder not in self._indices:
            index: dict[str, list[Path]] = {}
            for path in walk_images(folder):
                index.setdefault(path.name.lower(), []).append(path)
            self._indices[folder] = index
        return self._indices[folder]


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image.

    Attributes:
        size: (width, height) of the image as training loads it, turned by its orientation tag.
        stored: (width, height) of the pixels as the file stores them.
        orientation: EXIF orientation by which training turns the stored pixels, 1 to 8; 1 leaves them.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int = 1


def read_header(source: Path | bytes, name: str | Path = '') -> ImageHeader:
    """Read the size of an image from its header; no pixel is decoded, except of rare formats.

    Args:
        source: A file, or its content.
        name: Of the file, for the error; defaults to ``source``.

    Raises:
        UnreadableFileError: If the file is missing or no image.
    """
    name = str(name or source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            if orientation not in range(2, 9):
                return ImageHeader(image.size, image.size)
            if image.format in _TURNED_ALIKE and not image.mode.startswith('I'):
                width, height = image.size
                size = (height, width) if orientation >= 5 else (width, height)
                return ImageHeader(size, (width, height), orientation)
    except FileNotFoundError as error:
        raise SetupError(f'image {name} does not exist; add the file') from error
    except UnidentifiedImageError:
        orientation = 1  # perhaps a format that only OpenCV reads
    except Exception as error:  # each decoder raises its own kinds
        raise unreadable(name, 'image', b'', error) from error
    return _decoded_header(source, name, orientation)


def _decoded_header(source: Path | bytes, name: str, orientation: int) -> ImageHeader:
    """The header of a format whose decoders treat the tag in their own ways, or of many bands: by decoding it as training does."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    layout = tiff_layout(io.BytesIO(content))
    if is_npy(content) or layout is not None and layout.orientation == 1 and not layout.is_plain:
        array = decode_bands(content, name)[0]
    else:
        try:
            array = decode_deep_image(content)
            array = decode_image(content) if array is None else array
        except Exception as error:
            raise unreadable(name, 'image', content, error) from error
    size = array.shape[1], array.shape[0]
    return ImageHeader(size, size[::-1] if orientation >= 5 else size, orientation)
