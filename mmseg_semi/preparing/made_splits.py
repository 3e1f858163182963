"""Draw labelled images by seed: at random, by class, or by group."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmseg_semi.data.decoding import IMAGE_SUFFIXES
from mmseg_semi.data.randomness import seeded_permutation
from mmseg_semi.data.splits import Split, read_names, summarize, write_split
from mmseg_semi.data.transforms import read_labels
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE

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
    """Draw ``n`` labelled images from a folder by seed; the others are unlabelled.

    The same names give the same lists on every machine. With one seed and no balancing, a smaller
    ``n`` is contained in a larger one.

    Args:
        images: Folder of images, searched with its subfolders.
        n: Number of labelled images, 1 to all.
        seed: 0 or more.
        out: Folder that receives ``labeled.txt``, ``unlabeled.txt`` (unless all are labelled) and
            ``manifest.json``.
        masks: Folder of masks with the names of the images; needed to balance.
        balance: None for a plain draw; 'classes' makes every class appear in the labelled images;
            'stratified' gives each class the share of labelled images that it has of all images, and
            makes every class appear.
        min_pixels: Pixels that an image must have of a class to show it. Defaults to 1.
        name: What the protocol is called in the manifest. Defaults to 'own'.
        group: Regular expression that finds the group of an image in its name, for instance the video
            or the city: its first parenthesis, or all that it matches.
        grouping: 'whole': groups are labelled as a whole or not at all, as many as fit into ``n``
            images when they come in random order. 'spread': each group has its share of the ``n`` images.
        img_suffix: End of the images' file names, taken off their names, such as '_leftImg8bit.png'.
            Empty: any image; the extension is taken off.
        seg_map_suffix: The same of the masks, such as '_gtFine_labelTrainIds.png'.
        only: List of the names to draw from, where the folder holds others as well (VOC's holds val).

    Raises:
        SetupError: If there are no images, the list names one that is not there, ``n`` is out of
            range, masks are missing, ``n`` images cannot show every class, or the groups are none.
    """
    names = list_names(images, img_suffix)
    if only is not None:
        names = _among(names, Path(only), images)
    if not 1 <= n <= len(names):
        raise SetupError(f'--n {n} is out of range: {images} holds {len(names)} images')
    if seed < 0:
        raise SetupError(f'--seed {seed} is negative; give an integer of 0 or more')
    if balance not in (None, *BALANCES):
        raise SetupError(f'--balance {balance} is unknown; expected {" or ".join(BALANCES)}')
    if balance and group:
        raise SetupError('--balance and --group exclude each other; give one of them')
    order = [names[i] for i in seeded_permutation(len(names), seed)]
    if group is not None:
        chosen = by_group(order, n, seed, group, grouping)
    elif balance:
        if masks is None:
            raise SetupError(f'--balance {balance} needs --masks, the folder of label maps')
        shown = _classes_shown(names, masks, min_pixels, seg_map_suffix)
        chosen = (show_all if balance == 'classes' else stratify)(order, shown, n)
    else:
        chosen = order[:n]
    labeled = sorted(chosen)
    unlabeled = sorted(set(names) - set(chosen))
    how = dict(source='drawn by tools/splits.py make', seed=seed)
    how['balance'] = balance and f'{balance} (of at least {min_pixels} pixels)'
    how['group'] = group and f'{grouping} groups {group}'
    number = len(labeled)
    write_split(
        Path(out),
        labeled,
        unlabeled,
        dict(
            protocol=f'{name} {number} seed {seed}' if unlabeled else f'{name} {number}',
            **how,
            images=summarize(names),
        ),
    )
    return Split(labeled, unlabeled, (Path(out) / 'labeled.txt', Path(out) / 'unlabeled.txt'))


# ------------------------------------------------------------------------------------------- folders


def find_files(folder: Path, suffix: str, option: str) -> dict[str, Path]:
    """Image files below a folder by name: their relative path without its end.

    Args:
        folder: Searched with its subfolders.
        suffix: End of the file names that count, taken off; empty for any image's extension.
        option: Names the folder in errors.

    Raises:
        SetupError: If the folder is missing or empty, or two files differ in their ending alone.
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
                f'{option} {folder} holds {name} with several endings; keep one file a name'
            )
        files[name] = path
    if not files:
        raise SetupError(
            f'{option} {folder} holds no image ({suffix or ", ".join(IMAGE_SUFFIXES)})'
        )
    return files


def list_names(images: Path, suffix: str = '') -> list[str]:
    """Sorted names of the images below a folder: relative paths without their endings.

    Raises:
        SetupError: If the folder is missing or empty, or two images differ in their ending alone.
    """
    return sorted(find_files(images, suffix, '--images'))


def _among(names: Sequence[str], path: Path, images: Path) -> list[str]:
    """The names that a list chooses."""
    chosen = sorted(set(read_names(path)))
    missing = sorted(set(chosen) - set(names))
    if missing:
        raise SetupError(
            f'--list {path} names {missing[0]}, which is not in --images {images} ({len(missing)} of '
            f'{len(chosen)} names are missing); give list and folder of the same data set, or mend '
            '--img-suffix'
        )
    return chosen


def _classes_shown(
    names: Sequence[str], masks: Path, min_pixels: int, suffix: str
) -> dict[str, set[int]]:
    """Classes of which each image has at least ``min_pixels``; 255 is none."""
    files = find_files(masks, suffix, '--masks')
    shown = {}
    for name in names:
        if name not in files:
            raise SetupError(f'--masks {masks} holds no mask of {name}; expected one of each image')
        values, counts = np.unique(read_labels(str(files[name])), return_counts=True)
        pairs = zip(values.tolist(), counts.tolist(), strict=True)
        shown[name] = {v for v, count in pairs if v != IGNORE and count >= min_pixels}
    return shown


# ------------------------------------------------------------------------------------------- drawing


def show_all(order: Sequence[str], shown: Mapping[str, set[int]], n: int) -> list[str]:
    """First the images that complete the classes, rarest class first, then the rest of the draw.

    Args:
        order: All names in the order of the draw.
        shown: Classes that each image shows.
        n: Number of names to choose.

    Raises:
        SetupError: If ``n`` names do not suffice.
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
            f'{len(chosen)}); raise --n or leave out --balance'
        )
    taken = set(chosen)
    return chosen + [name for name in order if name not in taken][: n - len(chosen)]


def stratify(order: Sequence[str], shown: Mapping[str, set[int]], n: int) -> list[str]:
    """Labelled images that show each class as often as all images do, in proportion.

    Iterative stratification (Sechidis et al., https://doi.org/10.1007/978-3-642-23808-6_10): the class
    with the fewest images left is served first, since few can serve it; among its images the one comes
    first that serves most of what is still wanted, ties go to the order of the draw. Images that are
    left to choose then come in the order of the draw.

    Args:
        order, shown, n: As of :func:`show_all`, which takes over where a class would be left out.
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
    """Choose by the group that each name belongs to.

    Args:
        order: All names in the order of the draw.
        n: Number of names to choose; with 'whole' groups the most that may be chosen.
        seed: Decides the order of whole groups, whatever their sizes.
        pattern: Regular expression: its first parenthesis is the group, or all that it matches.
        grouping: 'whole' or 'spread'.

    Raises:
        SetupError: If a name has no group, there is one group only, or no group is as small as ``n``.
    """
    try:
        matches = {name: re.search(pattern, name) for name in order}
    except re.error as error:
        raise SetupError(
            f'--group {pattern} is no regular expression ({error}); one that takes the first folder '
            "is '^([^/]+)/'"
        ) from error
    lost = [name for name, match in matches.items() if match is None]
    if lost:
        raise SetupError(
            f'--group {pattern} finds nothing in {len(lost)} of {len(order)} names, the first is '
            f'{min(lost)}; give an expression that each name matches'
        )
    groups: dict[str, list[str]] = {}
    for name, match in matches.items():
        groups.setdefault(match[1] if match.re.groups else match[0], []).append(name)
    if len(groups) == 1:
        raise SetupError(
            f'--group {pattern} finds one group only ({next(iter(groups))}); expected several'
        )
    chosen: list[str] = []
    if grouping == 'whole':
        names = sorted(groups)
        for members in (groups[names[i]] for i in seeded_permutation(len(names), seed)):
            if len(chosen) + len(members) <= n:
                chosen += members
        if not chosen:
            raise SetupError(
                f'--n {n}: the smallest of the {len(groups)} groups has '
                f'{min(map(len, groups.values()))} images; raise --n, or take --grouping spread'
            )
        return chosen
    # position in its group relative to the group's size: the first n of this order are fair shares
    rank = {
        name: ((i + 0.5) / len(members), place)
        for place, members in enumerate(groups.values())
        for i, name in enumerate(members)
    }
    return sorted(order, key=rank.__getitem__)[:n]
