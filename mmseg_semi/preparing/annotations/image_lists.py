"""Lists of an export's images: where to look for files, names without an ending, the same image twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Region
from mmseg_semi.preparing.annotations.files import ImageFiles, plain_name, walk_images

_PARTS = dict(
    train='train', training='train', val='val', valid='val', validation='val', test='test'
)
SAME_IMAGE = 'images that the export names twice, with the same regions or none in one place'


def image_folders(root: Path, images: Path | None) -> list[Path]:
    """Where the images of an export are looked for: the user's folder, else ``images/`` beside it, else anywhere below it."""
    return [images] if images is not None else [root / 'images', root]


def part_of(name: str | None) -> str | None:
    """'train', 'val' or 'test' for the name of a subset, None for other names.

    Example:
        >>> part_of('Validation'), part_of('default')
        ('val', None)
    """
    return _PARTS.get((name or '').lower())


class ImageStems:
    """Finds images whose ending an export does not write.

    Args:
        folders: Where to look; folders that do not exist are passed over.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / 'a.jpg').touch()
        >>> ImageStems([folder]).find('train/a').name
        'a.jpg'
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._files = ImageFiles(list(folders))
        self._endings: dict[str, dict[str, None]] = {}
        for folder in self._files.folders:
            for path in walk_images(folder):
                self._endings.setdefault(path.stem.lower(), {})[path.suffix] = None

    def find(self, stem: str) -> Path | None:
        """The image of a name without ending, or None.

        Raises:
            SetupError: If several images could be meant.
        """
        endings = self._endings.get(PurePosixPath(stem).name.lower(), {})
        found = dict.fromkeys(self._files.find(stem + ending) for ending in endings)
        paths = [path for path in found if path is not None]
        if len(paths) > 1:
            raise SetupError(
                f'the export names the image {stem}, and both {paths[0]} and {paths[1]} could be it; name the folder of the right ones '
                'by --images'
            )
        return paths[0] if paths else None


def sorted_images(
    images: Iterable[AnnotatedImage], source: Path, counts: Counter
) -> list[AnnotatedImage]:
    """Images sorted by name, each once.

    An image may stand in several files or tasks of an export, if its regions are the same there or only one of them has some.

    Args:
        images: In any order.
        source: The export, for the error.
        counts: Counts images that were named twice.

    Raises:
        SetupError: If an image has different regions in two places, or one file belongs to two annotated images.
    """
    by_name: dict[str, AnnotatedImage] = {}
    for image in images:
        first = by_name.setdefault(image.name, image)
        if first is image:
            continue
        counts[SAME_IMAGE] += 1
        if image.annotated and first.annotated and not _same(first.regions, image.regions):
            raise SetupError(
                f'{source} annotates the image {image.name} twice, and differently; export only one of the files or tasks that hold it'
            )
        if image.annotated and not first.annotated:
            by_name[image.name] = image
    return _one_a_file([by_name[name] for name in sorted(by_name)], source, counts)


def _one_a_file(
    images: list[AnnotatedImage], source: Path, counts: Counter
) -> list[AnnotatedImage]:
    """Images without those whose file another one has: subsets may use one name for two images, of which one is there."""
    owner: dict[Path, AnnotatedImage] = {}
    for image in sorted(images, key=lambda image: not image.annotated):  # annotated ones first
        if image.path is None:
            continue
        first = owner.setdefault(image.path.resolve(), image)
        if first is not image and image.annotated:
            raise SetupError(
                f'{source} annotates the images {first.name} and {image.name}, and the file of both would be {image.path}; name a folder by '
                '--images that has both'
            )
    kept = [image for image in images if not image.path or owner[image.path.resolve()] is image]
    counts[SAME_IMAGE] += len(images) - len(kept)
    return kept


def found_elsewhere(name: str, path: Path | None) -> bool:
    """Whether a file lies in another folder than the export says.

    Example:
        >>> found_elsewhere('day 1/a.png', Path('photos/a.png')), found_elsewhere('a.png', Path('photos/a.png'))
        (True, False)
    """
    folders = plain_name(name).lower().split('/')[:-1]
    return path is not None and bool(folders) and path.parent.name.lower() != folders[-1]


def _same(one: list[Region], other: list[Region]) -> bool:
    """Whether two lists of regions are equal."""
    return len(one) == len(other) and all(map(_same_region, one, other))


def _same_region(one: Region, other: Region) -> bool:
    if (one.label, one.order, len(one.rings)) != (other.label, other.order, len(other.rings)):
        return False
    if one.mask is not None or other.mask is not None:
        if one.mask is None or other.mask is None or one.offset != other.offset:
            return False
        return np.array_equal(*(r.mask() if callable(r.mask) else r.mask for r in (one, other)))
    return all(map(np.array_equal, one.rings, other.rings))
