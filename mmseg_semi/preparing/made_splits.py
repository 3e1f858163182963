"""Draw the labelled images of a data set from a seed: at random, by class, or by group."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmseg_semi.data.decoding import IMAGE_SUFFIXES
from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.data.splits import read_names, summarize
from mmseg_semi.data.transforms import read_labels
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.split_lists import Split, write_split

BALANCES = ('classes', 'stratified')
GROUPINGS = ('whole', 'spread')


def make_split(
    images: Path,
    n: int,
    seed: int,
    out: Path,
    masks: Path | None = None,
    balance: str | None = None,
    min_pixels: int = 1,
    name: str = 'own',
    group: str | None = None,
    grouping: str = 'whole',
    img_suffix: str = '',
    seg_map_suffix: str = '',
    only: Path | None = None,
) -> Split:
    """Draw ``n`` labelled images from a folder; the others are unlabelled.

    The same names and seed give the same lists on every machine. With one seed and no balancing,
    the labelled images of a smaller ``n`` are among those of a larger one.

    Args:
        images: Folder of images, searched with its subfolders.
        n: Number of labelled images, 1 to all.
        seed: Seed of the draw, 0 or more.
        out: Folder that receives ``labeled.txt``, ``unlabeled.txt`` (unless all are labelled) and
            ``manifest.json``.
        masks: Folder of masks with the names of the images; needed by ``balance``.
        balance: None draws at random; 'classes' makes every class appear in the labelled images;
            'stratified' gives each class the share of labelled images that it has of all images,
            and makes every class appear.
        min_pixels: Number of pixels of a class that an image must have to show it. Defaults to 1.
        name: Name of the protocol in the manifest. Defaults to 'own'.
        group: Regular expression that finds the group of an image in its name, for instance the
            video or the city: its first parenthesis, or the complete match.
        grouping: 'whole' labels complete groups, in random order, as many as fit into ``n`` images.
            'spread' labels the same share of each group.
        img_suffix: End of the images' file names that is no part of their names, such as
            '_leftImg8bit.png'. Empty: any image, whose extension is removed.
        seg_map_suffix: The same for the masks, such as '_gtFine_labelTrainIds.png'.
        only: List of the names to draw from, if the folder holds others as well (VOC's holds val).

    Raises:
        SetupError: If there are no images, the list names a missing one, ``n`` is out of range,
            masks are missing, ``n`` images cannot show every class, or a name has no group.
    """
    names = list_names(images, img_suffix)
    if only is not None:
        names = _among(names, Path(only), images)
    if not 1 <= n <= len(names):
        raise SetupError(
            f'--n {n} is out of range: {images} holds {len(names)} images, expected 1 to {len(names)}'
        )
    if seed < 0:
        raise SetupError(f'--seed {seed} is negative; expected an integer of 0 or more')
    _check_balance(balance, group, masks)
    order = [names[i] for i in seeded_permutation(len(names), seed)]
    if group is not None:
        chosen = by_group(order, n, seed, group, grouping)
    elif balance:
        shown = _classes_shown(names, masks, min_pixels, seg_map_suffix)
        chosen = (show_all if balance == 'classes' else stratify)(order, shown, n)
    else:
        chosen = order[:n]
    labeled = sorted(chosen)
    unlabeled = sorted(set(names) - set(chosen))
    protocol = f'{name} {len(labeled)}'
    manifest = dict(
        protocol=f'{protocol} seed {seed}' if unlabeled else protocol,
        source='drawn by tools/splits.py make',
        seed=seed,
        balance=balance and f'{balance} (of at least {min_pixels} pixels)',
        group=group and f'{grouping} groups {group}',
        images=summarize(names),
    )
    write_split(Path(out), labeled, unlabeled, manifest)
    return Split(labeled, unlabeled, (Path(out) / 'labeled.txt', Path(out) / 'unlabeled.txt'))


def _check_balance(balance: str | None, group: str | None, masks: Path | None) -> None:
    if balance not in (None, *BALANCES):
        raise SetupError(f'--balance {balance} is unknown; expected {" or ".join(BALANCES)}')
    if balance and group:
        raise SetupError('--balance and --group exclude each other; use one of them')
    if balance and masks is None:
        raise SetupError(f'--balance {balance} needs --masks, the folder of label maps')


# ------------------------------------------------------------------------------------------ folders


def find_files(folder: Path, suffix: str, option: str) -> dict[str, Path]:
    """Find the images below a folder by name: their relative path without its suffix.

    Args:
        folder: Folder, searched with its subfolders.
        suffix: End of the file names to find, removed from the names; empty finds any image and
            removes its extension.
        option: Option that names the folder, for errors.

    Raises:
        SetupError: If the folder is missing or empty, or two files differ only in their suffix.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SetupError(f'{option} {folder} is no folder; expected a folder of images')
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob('*')):
        if suffix and path.name.endswith(suffix):
            name = path.relative_to(folder).as_posix().removesuffix(suffix)
        elif not suffix and path.suffix.lower() in IMAGE_SUFFIXES:
            name = path.relative_to(folder).with_suffix('').as_posix()
        else:
            continue
        if name in files:
            raise SetupError(
                f'{option} {folder} holds {name} with several suffixes; keep one file for each name'
            )
        files[name] = path
    if not files:
        raise SetupError(
            f'{option} {folder} holds no image ({suffix or ", ".join(IMAGE_SUFFIXES)})'
        )
    return files


def list_names(images: Path, suffix: str = '') -> list[str]:
    """Sorted names of the images below a folder: relative paths without their suffixes.

    Raises:
        SetupError: If the folder is missing or empty, or two images differ only in their suffix.
    """
    return sorted(find_files(images, suffix, '--images'))


def _among(names: Sequence[str], path: Path, images: Path) -> list[str]:
    """The names of a list, all of which must be among ``names``."""
    chosen = sorted(set(read_names(path)))
    missing = sorted(set(chosen) - set(names))
    if missing:
        raise SetupError(
            f'--list {path} names {missing[0]}, which is not in --images {images} ({len(missing)} '
            f'of {len(chosen)} names are missing); use list and folder of the same data set, or '
            'fix --img-suffix'
        )
    return chosen


def _classes_shown(
    names: Sequence[str], masks: Path, min_pixels: int, suffix: str
) -> dict[str, set[int]]:
    """Classes of which each image has at least ``min_pixels``, without 255."""
    files = find_files(masks, suffix, '--masks')
    shown = {}
    for name in names:
        if name not in files:
            raise SetupError(
                f'--masks {masks} holds no mask of {name}; expected a mask of each image'
            )
        values, counts = np.unique(read_labels(str(files[name])), return_counts=True)
        pairs = zip(values.tolist(), counts.tolist(), strict=True)
        shown[name] = {v for v, count in pairs if v != IGNORE and count >= min_pixels}
    return shown


# ------------------------------------------------------------------------------------------ drawing


def show_all(order: Sequence[str], shown: Mapping[str, set[int]], n: int) -> list[str]:
    """Choose ``n`` images that show every class: first one for each class, rarest class first.

    The others come in the order of the draw.

    Args:
        order: All names in the order of the draw.
        shown: Classes that each image shows.
        n: Number of names to choose.

    Raises:
        SetupError: If ``n`` names do not suffice.

    Example:
        >>> show_all(['a', 'b', 'c'], {'a': {0}, 'b': {0}, 'c': {0, 1}}, 2)
        ['c', 'a']
    """
    frequency = Counter(c for classes in shown.values() for c in classes)
    chosen: list[str] = []
    covered: set[int] = set()
    for wanted in sorted(frequency, key=lambda c: (frequency[c], c)):
        if wanted not in covered:
            chosen.append(next(name for name in order if wanted in shown[name]))
            covered |= shown[chosen[-1]]
    if len(chosen) > n:
        raise SetupError(
            f'--n {n} images cannot show all {len(frequency)} classes in this draw (it needs '
            f'{len(chosen)}); raise --n or remove --balance'
        )
    taken = set(chosen)
    return chosen + [name for name in order if name not in taken][: n - len(chosen)]


def stratify(order: Sequence[str], shown: Mapping[str, set[int]], n: int) -> list[str]:
    """Choose ``n`` images in which each class has the share of images that it has in all images.

    Iterative stratification (Sechidis et al., https://doi.org/10.1007/978-3-642-23808-6_10): the
    class with the fewest images left is served first, since few can serve it. Among its images, the
    one that shows most of the classes still wanted is chosen; ties go to the order of the draw.
    Once all classes are served, images are chosen in the order of the draw.

    Args:
        order, shown, n: As in :func:`show_all`, which replaces this method if a class would be
            missing.
    """
    frequency = Counter(c for classes in shown.values() for c in classes)
    wanted = {c: max(1, round(n * count / len(order))) for c, count in frequency.items()}
    left = dict.fromkeys(order)  # a set that keeps its order
    supply = frequency.copy()
    chosen: list[str] = []
    while len(chosen) < n:
        open_classes = [c for c, want in wanted.items() if want > 0]
        rare = min(
            (c for c in open_classes if supply[c]), key=lambda c: (supply[c], c), default=None
        )
        if rare is None:
            break
        # the first of the most useful ones: max keeps the order of the draw
        best = max(
            (name for name in left if rare in shown[name]),
            key=lambda name: sum(1 if wanted[c] > 0 else -1 for c in shown[name]),
        )
        chosen.append(best)
        del left[best]
        for c in shown[best]:
            wanted[c] -= 1
            supply[c] -= 1
    chosen += list(left)[: n - len(chosen)]
    if {c for name in chosen for c in shown[name]} < set(frequency):
        return show_all(order, shown, n)
    return chosen


def by_group(order: Sequence[str], n: int, seed: int, pattern: str, grouping: str) -> list[str]:
    """Choose images by the groups that their names belong to.

    Args:
        order: All names in the order of the draw.
        n: Number of names to choose; the largest number with 'whole' groups.
        seed: Seed of the order of 'whole' groups, which does not depend on their sizes.
        pattern: Regular expression: its first parenthesis, or its complete match, is the group.
        grouping: 'whole' or 'spread', as in :func:`make_split`.

    Raises:
        SetupError: If a name has no group, there is only one group, or each group has more than
            ``n`` images.
    """
    groups = _find_groups(order, pattern)
    if grouping == 'whole':
        chosen: list[str] = []
        names = sorted(groups)
        for members in (groups[names[i]] for i in seeded_permutation(len(names), seed)):
            if len(chosen) + len(members) <= n:
                chosen += members
        if not chosen:
            raise SetupError(
                f'--n {n}: the smallest of the {len(groups)} groups has '
                f'{min(map(len, groups.values()))} images; raise --n, or use --grouping spread'
            )
        return chosen
    # position in its group relative to the group's size: the first n of this order are fair shares
    rank = {
        name: ((i + 0.5) / len(members), place)
        for place, members in enumerate(groups.values())
        for i, name in enumerate(members)
    }
    return sorted(order, key=rank.__getitem__)[:n]


def _find_groups(order: Sequence[str], pattern: str) -> dict[str, list[str]]:
    """Names of each group, in the order of the draw."""
    try:
        matches = {name: re.search(pattern, name) for name in order}
    except re.error as error:
        raise SetupError(
            f"--group {pattern} is no regular expression ({error}); give one such as '^([^/]+)/', which finds the "
            'first folder'
        ) from error
    unmatched = [name for name, match in matches.items() if match is None]
    if unmatched:
        raise SetupError(
            f'--group {pattern} finds nothing in {len(unmatched)} of {len(order)} names, the first '
            f'is {min(unmatched)}; use an expression that each name matches'
        )
    groups: dict[str, list[str]] = {}
    for name, match in matches.items():
        groups.setdefault(match[1] if match.re.groups else match[0], []).append(name)
    if len(groups) == 1:
        raise SetupError(
            f'--group {pattern} finds one group only ({next(iter(groups))}); expected several'
        )
    return groups
