"""Which images of an export train with their masks, which without, and which validate."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.export import AnnotatedImage, Export
from mmseg_semi.preparing.annotations.files import walk_images

DEFAULT_SHARE = 0.2

ANNOTATED_COPIES = 'images of --unlabeled that are annotated ones or copies of them, left out'
TWICE = 'images that --unlabeled or the export name twice, kept once'
HELD_OUT = 'images of val and test without annotation, left out'


@dataclass
class Parts:
    """The images of a project.

    Attributes:
        train: Annotated images that train.
        val: Annotated images that validate.
        test: Annotated images for a final test; may be empty.
        unlabeled: (name, file) of images that train without masks.
        missing: Names of annotated images whose files are not there.
        missing_unannotated: Names of other images whose files are not there.
        division: One sentence: how validation images were chosen.
        counts: What was left out: text -> number of images.
    """

    train: list[AnnotatedImage] = field(default_factory=list)
    val: list[AnnotatedImage] = field(default_factory=list)
    test: list[AnnotatedImage] = field(default_factory=list)
    unlabeled: list[tuple[str, Path]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    missing_unannotated: list[str] = field(default_factory=list)
    division: str = ''
    counts: Counter = field(default_factory=Counter)

    @property
    def annotated(self) -> list[AnnotatedImage]:
        """Images of all parts that have a mask."""
        return [*self.train, *self.val, *self.test]


def divide(
    export: Export,
    folders: Sequence[Path] = (),
    val: float | Path | None = None,
    labels: Callable[[AnnotatedImage], set] | None = None,
) -> Parts:
    """Divide the images of an export, and add folders of images without masks.

    Args:
        export: What was read.
        folders: The option ``--unlabeled``.
        val: The option ``--val``: a share of the annotated images that are in no test part, or a folder whose annotated images validate. None
            takes the parts of the export, or else a share of 0.2.
        labels: Gives the classes that an image shows; None for those of its regions.

    Raises:
        SetupError: If no image is annotated, too few are, all files are missing, a folder holds no image, or no image remains without mask.
    """
    parts = Parts()
    annotated = [image for image in export.images if image.annotated]
    if not annotated:
        raise SetupError(
            f'{export.source} has {len(export.images)} images and none of them is annotated with a region; annotate some, and export again'
        )
    there = [image for image in annotated if image.path or image.content]
    parts.missing = [image.name for image in annotated if not (image.path or image.content)]
    if not there:
        raise SetupError(
            f'none of the {len(annotated)} annotated images of {export.source} is there ({_few(parts.missing)}); name their folder by --images'
        )
    _check_files(export, there)
    _choose_val(parts, export, there, val, labels or _labels)
    divided = {part for part in ('val', 'test') if any(image.part == part for image in annotated)}
    for image in export.images:
        if image.annotated:
            continue
        if image.path is None:
            parts.missing_unannotated.append(image.name)
        elif image.part in divided:
            parts.counts[HELD_OUT] += 1
        else:
            parts.unlabeled.append((image.name, image.path))
    _add_folders(parts, folders)
    if not parts.unlabeled:
        raise SetupError(
            f'every image of {export.source} is annotated, and there is none without; name folders of images without annotation by --unlabeled'
        )
    return parts


def _check_files(export: Export, images: Sequence[AnnotatedImage]) -> None:
    """Refuse one file as two annotated images: names agree in part, and one of the two is not there."""
    owner: dict[Path, str] = {}
    for image in images:
        if image.path is None:
            continue
        real = image.path.resolve()
        if real in owner:
            raise SetupError(
                f'{export.source} names the images {owner[real]} and {image.name}, and for both the file {image.path} was found; give the folder '
                'that has both by --images'
            )
        owner[real] = image.name


def _few(names: Sequence[str], number: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f' and {len(names) - number} more' if len(names) > number else ''
    return ', '.join(names[:number]) + more


def _choose_val(
    parts: Parts,
    export: Export,
    there: list[AnnotatedImage],
    val: float | Path | None,
    labels: Callable,
) -> None:
    """Give each annotated image a part."""
    parts.test = [image for image in there if image.part == 'test']
    rest = [image for image in there if image.part != 'test']
    if val is None and any(image.part == 'val' for image in rest):
        parts.val = [image for image in rest if image.part == 'val']
        parts.division = 'the parts of the export'
    elif isinstance(val, Path):
        if not val.is_dir():
            raise SetupError(
                f'--val {val} is neither a share such as 0.2 nor a folder; give one of them'
            )
        folder = val.resolve()
        parts.val = [
            image
            for image in rest
            if image.path
            and folder in (image.path.absolute().parents, *image.path.resolve().parents)
        ]
        parts.division = f'the annotated images in {val}'
        if not parts.val:
            raise SetupError(
                f'--val {val}: none of the {len(rest)} annotated images lies in this folder; give a share such as 0.2'
            )
    else:
        share = DEFAULT_SHARE if val is None else val
        if not 0 < share < 1:
            raise SetupError(
                f'--val {share:g}: expected a share between 0 and 1, such as 0.2, or a folder'
            )
        if len(rest) < 2:
            raise SetupError(
                f'{export.source} has {len(rest)} annotated image whose file is there; training and validation need one each, annotate two or more'
            )
        number = min(max(1, round(share * len(rest))), len(rest) - 1)
        parts.val = _draw(rest, number, labels)
        parts.division = (
            f'{share:.0%} of the annotated images at random, such that each class stays in training if it can; frames of one video are nearly '
            'equal, so give --val a folder for these'
        )
    chosen = {id(image) for image in parts.val}
    parts.train = [image for image in rest if id(image) not in chosen]
    if not parts.train:
        raise SetupError(
            f'all {len(rest)} annotated images validate, and none is left for training; correct --val'
        )


def _draw(images: Sequence[AnnotatedImage], number: int, labels: Callable) -> list[AnnotatedImage]:
    """Draw images for validation; one that alone shows a class is taken only if there is no other."""
    shown = [labels(image) for image in images]
    left = Counter(label for found in shown for label in found)
    drawn: list[int] = []
    order = seeded_permutation(len(images), 0).tolist()
    for careful in (True, False):
        for i in order:
            if len(drawn) == number:
                break
            if i in drawn or careful and any(left[label] == 1 for label in shown[i]):
                continue
            drawn.append(i)
            left.subtract(shown[i])
    return [images[i] for i in sorted(drawn)]


def _labels(image: AnnotatedImage) -> set[str]:
    return {region.label for region in image.regions if region.label is not None}


def _add_folders(parts: Parts, folders: Sequence[Path]) -> None:
    """Add the images of folders, without those that are annotated, be it as another copy."""
    known = {image.path.resolve() for image in parts.annotated if image.path}
    sizes: dict[int, list[Path]] = {}
    for path in known:
        sizes.setdefault(path.stat().st_size, []).append(path)
    digests: dict[Path, bytes] = {}
    found, kept = list(parts.unlabeled), []
    for folder in folders:
        if not folder.is_dir():
            raise SetupError(f'--unlabeled {folder} is no folder; name folders of images')
        files = [(path.relative_to(folder).as_posix(), path) for path in walk_images(folder)]
        if not files:
            raise SetupError(
                f'--unlabeled {folder} holds no image; name a folder with files such as .jpg, .png or .tif'
            )
        found += files
    taken: set[Path] = set()
    for name, path in found:
        real = path.resolve()
        alike = sizes.get(real.stat().st_size, [])
        if real in known or any(
            _digest(real, digests) == _digest(other, digests) for other in alike
        ):
            parts.counts[ANNOTATED_COPIES] += 1
            continue
        if real in taken:
            parts.counts[TWICE] += 1
            continue
        taken.add(real)
        kept.append((name, path))
    parts.unlabeled = kept


def _digest(path: Path, known: dict[Path, bytes]) -> bytes:
    """Digest of a file's content."""
    if path not in known:
        known[path] = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return known[path]
