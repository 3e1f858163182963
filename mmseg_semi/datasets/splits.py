"""Which images are labelled: published lists, imported and checked by hash, and own seeded ones.

The literature has several list families that share names but few images, so a result means something
only together with its family:

- ``u2pl``: the lists of U2PL, used by UniMatch (VOC) and DDFP;
- ``cps``: the lists of CPS, used by UniMatch (Cityscapes) and DGCL;
- ``cct``: the lists of CCT (VOC).

``protocols.json`` holds what each published list must be (count and SHA-256 of its sorted names), not
the lists themselves. All lists are written in one form: one name a line, ``2007_000032`` for VOC and
``aachen/aachen_000000_000019`` for Cityscapes, which MMSegmentation's data sets read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from mmseg_semi.errors import SetupError

from .randomness import seeded_permutation
from .transforms import IGNORE, read_labels

FAMILIES = ('u2pl', 'cps', 'cct')
DATASETS = ('voc', 'cityscapes')
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
PROTOCOLS = Path(__file__).with_name('protocols.json')

_NAMES = {
    'voc': re.compile(r'\d{4}_\d{6}'),
    'cityscapes': re.compile(r'(?P<city>[a-z-]+)_\d{6}_\d{6}'),
}


# ------------------------------------------------------------------------------- reading and hashes


def normalize_name(token: str, dataset: str) -> str:
    """Name of an image from any of the ways in which lists write it.

    Args:
        token: An id or a path of an image or mask, e.g. '/images/train/jena_000078_000019.png'.
        dataset: 'voc' or 'cityscapes'.

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
        dataset: 'voc' or 'cityscapes'.

    Returns:
        list[str]: Normalised names in the order of the file, repetitions included.

    Raises:
        SetupError: If a line names no image of this data set, or an image and another one's mask.
    """
    names = []
    text = Path(path).read_text(encoding='utf-8-sig')
    for number, line in enumerate(text.splitlines(), 1):
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


def hash_names(names: Iterable[str]) -> str:
    """SHA-256 of the sorted names, joined by newlines; the order of a list does not matter."""
    return hashlib.sha256('\n'.join(sorted(names)).encode()).hexdigest()


def summarize(names: Sequence[str]) -> dict:
    """Count and hash of a list, as ``protocols.json`` and manifests hold them."""
    return dict(count=len(names), sha256=hash_names(names))


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


# ---------------------------------------------------------------------------------------- importing


@dataclass
class Split:
    """One labelled/unlabelled pair on its way from a publication to ``data/splits``.

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


def load_protocols() -> dict:
    """Counts and hashes of the published lists, by family and data set."""
    return json.loads(PROTOCOLS.read_text(encoding='utf-8'))


def import_splits(
    family: str, dataset: str, source: Path, out: Path, verify: bool = True
) -> dict[int, Split]:
    """Find the lists of a family below a folder, check them, and write them in one form.

    Nothing is written unless every list found is what was published.

    Args:
        family: 'u2pl', 'cps' or 'cct'.
        dataset: 'voc' or 'cityscapes'.
        source: Checkout of a repository that ships the lists, or a folder with them.
        out: Folder of all splits; lists go to ``out/family/dataset/n/{labeled,unlabeled}.txt``.
        verify: Whether lists must be the published ones. False takes them as they are.

    Returns:
        dict[int, Split]: What was written, by number of labelled images.

    Raises:
        SetupError: If there is no such list, one cannot be read, or one differs from the published
            one (with both hashes).
    """
    protocols = load_protocols()
    family_info = protocols['families'].get(family)
    if family_info is None or dataset not in family_info['datasets']:
        known = [f'{f} {d}' for f, i in protocols['families'].items() for d in i['datasets']]
        raise SetupError(
            f'--family {family} --dataset {dataset} is unknown; expected one of: {", ".join(known)}'
        )
    source = Path(source)
    if not source.is_dir():
        raise SetupError(f'--source {source} is no folder; expected a checkout or folder of lists')
    expected = family_info['datasets'][dataset]
    candidates = _find_cct(source) if family == 'cct' else _find_pairs(source, dataset)
    val = _find_val(source, dataset, expected['val'] if verify else None)
    splits = {}
    for number in sorted(candidates):
        if verify and str(number) not in expected['splits']:
            continue
        splits[number] = _choose(
            candidates[number], expected['splits'].get(str(number)) if verify else None, dataset
        )
    if not splits:
        form = '<n>_train_supervised.txt' if family == 'cct' else '<n>/labeled.txt'
        raise SetupError(
            f'--source {source} holds no {dataset} lists of family {family} (files {form}); give a '
            f'checkout of {family_info["source"]["repository"]}'
        )
    for number, split in splits.items():
        split.problems = find_problems(split.labeled, split.unlabeled, val)
        protocol = expected['splits'].get(str(number), {}).get('protocol') if verify else None
        folder = Path(out) / family / dataset / str(number)
        _write_split(
            folder,
            split.labeled,
            split.unlabeled,
            dict(
                protocol=f'{protocol} {number}' if protocol else f'own ({family} form) {number}',
                family=family,
                dataset=dataset,
                verified=verify,
                source=family_info['source'] if verify else None,
                problems=split.problems,
            ),
        )
    if val:
        _write_lines(Path(out) / family / dataset / 'val.txt', val)
    return splits


Candidates = dict[int, list[tuple[Path, Path | None]]]


def _find_pairs(source: Path, dataset: str) -> Candidates:
    """Folders ``<n>/`` with ``labeled.txt`` and ``unlabeled.txt`` of this data set."""
    found: Candidates = {}
    for path in sorted(source.rglob('labeled.txt')):
        if path.parent.name.isdigit() and _is_about(path, dataset):
            other = path.with_name('unlabeled.txt')
            pair = (path, other if other.is_file() else None)
            found.setdefault(int(path.parent.name), []).append(pair)
    return found


def _find_cct(source: Path) -> Candidates:
    """``<n>_train_supervised.txt``, and where the unlabelled names can be read."""
    found: Candidates = {}
    everything = next(iter(sorted(source.rglob('train_aug.txt'))), None)
    for path in sorted(source.rglob('*_train_supervised.txt')):
        number = path.name.split('_')[0]
        if number.isdigit():
            rest = path.with_name(f'{number}_train_unsupervised.txt')
            other = everything or (rest if rest.is_file() else None)
            found.setdefault(int(number), []).append((path, other))
    return found


def _is_about(path: Path, dataset: str) -> bool:
    """Whether the first name in a list is one of this data set."""
    with open(path, encoding='utf-8-sig') as file:
        tokens = next((line.split() for line in file if line.strip()), None)
    try:
        return tokens is not None and bool(normalize_name(tokens[0], dataset))
    except ValueError:
        return False


def _find_val(source: Path, dataset: str, expected: dict | None) -> list[str]:
    """Names of the validation list, empty if the folder has none."""
    lists = [p for p in sorted(source.rglob('val.txt')) if _is_about(p, dataset)]
    if expected is None:
        return read_list(lists[0], dataset) if len(lists) == 1 else []
    for path in lists:
        names = read_list(path, dataset)
        if hash_names(names) == expected['sha256']:
            return names
    return []


def _choose(
    candidates: list[tuple[Path, Path | None]], expected: dict | None, dataset: str
) -> Split:
    """The candidate that is the published list, or an error that says how they differ."""
    splits = []
    for labeled_path, unlabeled_path in candidates:
        if unlabeled_path is None:
            raise SetupError(
                f'list {labeled_path} has no unlabelled counterpart beside it; expected '
                'unlabeled.txt (or train_aug.txt, from which the labelled names are taken away)'
            )
        labeled = read_list(labeled_path, dataset)
        unlabeled = read_list(unlabeled_path, dataset)
        if unlabeled_path.name == 'train_aug.txt':
            known = set(labeled)
            unlabeled = [name for name in unlabeled if name not in known]
        splits.append(Split(labeled, unlabeled, (labeled_path, unlabeled_path)))
    if expected is None:
        if len(splits) > 1:
            raise SetupError(
                f'{splits[0].origin[0]} and {splits[1].origin[0]} are lists for the same number of '
                'labels; without verification point --source to one of their folders'
            )
        return splits[0]
    differences = []
    for split in splits:
        wrong = [
            _difference(path, found, expected[kind])
            for path, kind, found in zip(
                split.origin,
                ('labeled', 'unlabeled'),
                (split.labeled, split.unlabeled),
                strict=True,
            )
            if hash_names(found) != expected[kind]['sha256']
        ]
        if not wrong:
            return split
        differences.append(wrong[0])
    raise SetupError(
        f'no list here is "{expected["protocol"]}": {"; ".join(differences)}; get the list again, '
        'or import your own with --no-verify'
    )


def _difference(path: Path, names: Sequence[str], expected: dict) -> str:
    return (
        f'{path} has {len(names)} names with SHA-256 {hash_names(names)}, expected '
        f'{expected["count"]} names with {expected["sha256"]}'
    )


# ------------------------------------------------------------------------------------------- making


def make_split(
    images: Path,
    n: int,
    seed: int,
    out: Path,
    masks: Path | None = None,
    balance: str | None = None,
    min_pixels: int = 1,
    name: str = 'own',
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
        balance: None for a plain draw; 'classes' makes every class appear in the labelled images.
        min_pixels: Pixels that an image must have of a class to show it. Defaults to 1.
        name: What the protocol is called in the manifest. Defaults to 'own'.

    Raises:
        SetupError: If there are no images, ``n`` is out of range, masks are missing, or ``n`` images
            cannot show every class.
    """
    names = list_names(images)
    if not 1 <= n <= len(names):
        raise SetupError(f'--n {n} is out of range: {images} holds {len(names)} images')
    if seed < 0:
        raise SetupError(f'--seed {seed} is negative; give an integer of 0 or more')
    order = [names[i] for i in seeded_permutation(len(names), seed)]
    if balance is None:
        chosen = order[:n]
    elif balance == 'classes':
        if masks is None:
            raise SetupError('--balance classes needs --masks, the folder of label maps')
        chosen = _balanced(order, _classes_shown(names, masks, min_pixels), n)
    else:
        raise SetupError(f'--balance {balance} is unknown; expected classes')
    labeled = sorted(chosen)
    unlabeled = sorted(set(names) - set(chosen))
    _write_split(
        Path(out),
        labeled,
        unlabeled,
        dict(
            protocol=f'{name} {n} seed {seed}' if unlabeled else f'{name} {n}',
            seed=seed,
            balance=balance and f'{balance} (of at least {min_pixels} pixels)',
            images=summarize(names),
        ),
    )
    return Split(labeled, unlabeled, (Path(out) / 'labeled.txt', Path(out) / 'unlabeled.txt'))


def list_names(images: Path) -> list[str]:
    """Sorted names of the images below a folder: relative paths without their endings.

    Raises:
        SetupError: If the folder is missing or empty, or two images differ in their ending alone.
    """
    images = Path(images)
    if not images.is_dir():
        raise SetupError(f'--images {images} is no folder; expected the folder of training images')
    names = [
        path.relative_to(images).with_suffix('').as_posix()
        for path in images.rglob('*')
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not names:
        raise SetupError(f'--images {images} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SetupError(
            f'--images {images} holds {repeated[0]} with several endings; keep one file a name'
        )
    return sorted(names)


def _classes_shown(names: Sequence[str], masks: Path, min_pixels: int) -> dict[str, set[int]]:
    """Classes of which each image has at least ``min_pixels``; 255 is none."""
    masks = Path(masks)
    files = {
        path.relative_to(masks).with_suffix('').as_posix(): path
        for path in masks.rglob('*')
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    shown = {}
    for name in names:
        if name not in files:
            raise SetupError(f'--masks {masks} holds no mask of {name}; expected one of each image')
        values, counts = np.unique(read_labels(str(files[name])), return_counts=True)
        pairs = zip(values.tolist(), counts.tolist(), strict=True)
        shown[name] = {v for v, count in pairs if v != IGNORE and count >= min_pixels}
    return shown


def _balanced(order: Sequence[str], shown: dict[str, set[int]], n: int) -> list[str]:
    """First the images that complete the classes, rarest class first, then the rest of the draw."""
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
    return chosen + [name for name in order if name not in set(chosen)][: n - len(chosen)]


# ------------------------------------------------------------------------------------------ writing


def _write_split(folder: Path, labeled: list[str], unlabeled: list[str], manifest: dict) -> None:
    manifest = dict(manifest, labeled=summarize(labeled))
    _write_lines(folder / 'labeled.txt', labeled)
    if unlabeled:
        manifest['unlabeled'] = summarize(unlabeled)
        _write_lines(folder / 'unlabeled.txt', unlabeled)
    _write_text(folder / 'manifest.json', json.dumps(manifest, indent=2) + '\n')


def _write_lines(path: Path, names: Sequence[str]) -> None:
    _write_text(path, ''.join(f'{name}\n' for name in names))


def _write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'{path.name}.tmp{os.getpid()}')
    draft.write_text(text, encoding='utf-8', newline='\n')
    os.replace(draft, path)
