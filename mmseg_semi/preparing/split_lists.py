"""Lists of labelled and unlabelled images as files: published ones in any format, their problems, writing.

What a run reads of them stands in :mod:`mmseg_semi.data.splits`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmseg_semi.data.names import read_lines
from mmseg_semi.data.splits import MANIFEST, summarize
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole

_NAMES = {
    'voc': re.compile(r'\d{4}_\d{6}'),
    'cityscapes': re.compile(r'(?P<city>[a-z-]+)_\d{6}_\d{6}'),
    'ade20k': re.compile(r'ADE_(train|val)_\d{8}'),
    'coco': re.compile(r'\d{12}'),
}


@dataclass
class Split:
    """One pair of lists.

    Args:
        labeled: Names of labelled images.
        unlabeled: Names of unlabelled images.
        origin: Files of the labelled and of the unlabelled list.
        problems: What is wrong with the pair as published.
    """

    labeled: list[str]
    unlabeled: list[str]
    origin: tuple[Path, Path]
    problems: list[str] = field(default_factory=list)


def normalize_name(token: str, dataset: str) -> str:
    """Name of an image from any of the ways in which lists write it.

    Args:
        token: An id or a path of an image or mask, e.g. '/images/train/jena_000078_000019.png'.
        dataset: 'voc', 'cityscapes', 'ade20k' or 'coco'.

    Raises:
        ValueError: If the token names no image of this data set.

    Example:
        >>> normalize_name('leftImg8bit/train/ulm/ulm_000079_000019_leftImg8bit.png', 'cityscapes')
        'ulm/ulm_000079_000019'
    """
    name = PurePosixPath(token.replace('\\', '/')).name
    name = re.sub(r'\.\w+$', '', name)
    name = re.sub(r'_(leftImg8bit|gtFine.*|gtCoarse.*)$', '', name)
    match = _NAMES[dataset].fullmatch(name)
    if match is None:
        raise ValueError(f'{token!r} names no {dataset} image')
    return f'{match["city"]}/{name}' if dataset == 'cityscapes' else name


def read_list(path: Path, dataset: str) -> list[str]:
    """Read a published list in any format in use.

    One image a line, as id or path, optionally followed by its mask after tabs or spaces. Line ends
    may be those of Windows, the last one may be missing, empty lines are skipped.

    Args:
        path: List file.
        dataset: 'voc', 'cityscapes', 'ade20k' or 'coco'.

    Returns:
        list[str]: Normalised names in the order of the file, repetitions included.

    Raises:
        SetupError: If the file is not UTF-8, or a line names no image of this data set, or an image and another one's mask.
    """
    names = []
    for number, line in enumerate(read_lines(path), 1):
        tokens = line.split()
        if not tokens:
            continue
        try:
            found = {normalize_name(token, dataset) for token in tokens}
        except ValueError as error:
            raise SetupError(
                f'list {path}, line {number}: {error}; expected an id or a path, or image and mask'
            ) from error
        if len(found) > 1:
            raise SetupError(
                f'list {path}, line {number}: image and mask differ ({", ".join(sorted(found))})'
            )
        names.append(found.pop())
    return names


def find_problems(
    labeled: Sequence[str], unlabeled: Sequence[str], val: Sequence[str]
) -> list[str]:
    """What is wrong with a pair of lists, in words; an empty list if nothing is.

    Args:
        labeled: Names of labelled images.
        unlabeled: Names of unlabelled images.
        val: Names of validation images, empty if unknown.
    """
    problems = []
    for kind, names in (('labelled', labeled), ('unlabelled', unlabeled)):
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            problems.append(f'{len(repeated)} {kind} names are repeated, e.g. {repeated[0]}')
        leaked = sorted(set(names) & set(val))
        if leaked:
            problems.append(f'{len(leaked)} {kind} images are validation images, e.g. {leaked[0]}')
    both = sorted(set(labeled) & set(unlabeled))
    if both:
        problems.append(
            f'{len(both)} images are labelled and unlabelled, e.g. {both[0]} (training on it needs '
            'allow_overlap=True)'
        )
    return problems


def write_split(folder: Path, labeled: list[str], unlabeled: list[str], manifest: dict) -> None:
    """Write both lists (no unlabelled one if it is empty) and the manifest, with counts and hashes."""
    manifest = dict(manifest, labeled=summarize(labeled))
    write_lines(folder / 'labeled.txt', labeled)
    if unlabeled:
        manifest['unlabeled'] = summarize(unlabeled)
        write_lines(folder / 'unlabeled.txt', unlabeled)
    else:  # of a split that stood here before
        (folder / 'unlabeled.txt').unlink(missing_ok=True)
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=2) + '\n')


def write_lines(path: Path, names: Sequence[str]) -> None:
    """Write a list, one name a line."""
    write_whole(path, ''.join(f'{name}\n' for name in names))
