"""Check and describe a pair of lists, for ``tools/splits.py check`` and ``describe``."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import track

from mmseg_semi.data import semi_dataset
from mmseg_semi.data.checks import load_class_indices, read_names, resolve_source
from mmseg_semi.data.remarks import Remark, remarks_on_data
from mmseg_semi.data.splits import (
    KINDS,
    MANIFEST,
    hash_names,
    published_protocols,
    read_manifest,
    summarize,
)
from mmseg_semi.data.splits import read_names as read_list
from mmseg_semi.data.transforms import read_labels
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.made_splits import find_files
from mmseg_semi.preparing.split_lists import find_problems


@dataclass
class Lists:
    """A pair of lists with all that is known about it.

    Args:
        title: The folder or the config.
        labeled, unlabeled, val: Names, duplicates included; empty if unknown.
        manifest: Manifest in the folder of the labelled list, or None.
        files: Image file by name, by kind ('labeled', 'unlabeled', 'val'); empty if unknown.
        everything: Names of all training images, or None if unknown.
        protocol: Name of the protocol in the config, or None.
        classes: Names of the classes, or None.
        masks: Functions that read the class indices of each labelled image; empty without masks.
        allow_overlap: Whether an image may be labelled and unlabelled.
        by_path: Whether images are compared by their paths in ``files``, not by their names: two
            folders may use the same names.
        remarks: Makes the remarks on own data that training makes.
    """

    title: str
    labeled: list[str]
    unlabeled: list[str]
    val: list[str]
    manifest: dict | None
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    everything: list[str] | None = None
    protocol: str | None = None
    classes: Sequence[str] | None = None
    masks: Sequence[Callable[[], np.ndarray]] = ()
    allow_overlap: bool = False
    by_path: bool = False
    remarks: Callable[[], list[Remark]] = list

    def ids(self, kind: str) -> list[str]:
        """Names of the images of a kind, or their paths if ``by_path`` is set."""
        if not self.by_path:
            return getattr(self, kind)
        return [str(path) for path in self.files.get(kind, {}).values()]

    @property
    def published(self) -> dict | None:
        """The published protocol that the config or the manifest names, or None."""
        name = self.protocol or (self.manifest or {}).get('protocol')
        return published_protocols().get(name)


# ----------------------------------------------------------------------------------- finding lists


def of_folder(
    folder: Path,
    images: Path | None = None,
    masks: Path | None = None,
    val: Path | None = None,
    everything: Path | None = None,
    img_suffix: str = '',
    seg_map_suffix: str = '',
) -> Lists:
    """Read the lists in a folder.

    Args:
        folder: Folder with ``labeled.txt`` and, usually, ``unlabeled.txt`` and ``manifest.json``.
        images: Folder of all training images.
        masks: Folder of the masks of labelled images.
        val: List of validation names, or folder of validation images. None: ``val.txt`` in the
            folder or above it.
        everything: List of all training names, if ``images`` holds others too.
        img_suffix, seg_map_suffix: Ends of file names that are no part of a name.

    Raises:
        SetupError: If there is no such folder, list or mask.
    """
    folder = Path(folder)
    if not (folder / 'labeled.txt').is_file():
        raise SetupError(
            f'{folder} holds no labeled.txt; name the folder of a split (mmseg-semi splits '
            'make|import writes them) or a config (.py)'
        )
    labeled = read_list(folder / 'labeled.txt')
    rest = folder / 'unlabeled.txt'
    unlabeled = read_list(rest) if rest.is_file() else []
    beside = next((p for p in (folder / 'val.txt', folder.parent / 'val.txt') if p.is_file()), None)
    val = val or beside
    files: dict[str, dict[str, Path]] = {}
    val_names: list[str] = []
    if val is not None and val.is_dir():
        # another folder may use the same names: these images are compared by content only
        files['val'] = find_files(val, img_suffix, '--val')
    elif val is not None:
        val_names = read_list(val)
    found = find_files(images, img_suffix, '--images') if images else {}
    if found:
        for kind, names in (('labeled', labeled), ('unlabeled', unlabeled)):
            files[kind] = {name: found[name] for name in names if name in found}
    lists = Lists(
        str(folder),
        labeled,
        unlabeled,
        val_names,
        read_manifest(folder),
        files,
        everything=read_list(everything) if everything else sorted(found) or None,
    )
    if masks:
        lists.masks = _mask_readers(masks, seg_map_suffix, labeled)
    return lists


def _mask_readers(
    masks: Path, suffix: str, labeled: Sequence[str]
) -> list[Callable[[], np.ndarray]]:
    files = find_files(masks, suffix, '--masks')
    missing = [name for name in labeled if name not in files]
    if missing:
        raise SetupError(
            f'--masks {masks} holds no mask of {missing[0]} ({len(missing)} of {len(labeled)} are '
            'missing); fix the folder or --seg-map-suffix'
        )
    return [lambda path=files[name]: read_labels(str(path)) for name in labeled]


def of_config(cfg: Config) -> Lists:
    """Take lists, images, masks and validation images from a config.

    Raises:
        SetupError: If the config has no SemiDataset, or a list or folder of it is missing.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    whole = cfg.get('train_dataloader', {}).get('dataset', {})
    if whole.get('type') != 'SemiDataset':
        raise SetupError(
            f"{semi_dataset.KEY}.type is {whole.get('type')!r}, expected 'SemiDataset'"
        )
    whole = semi_dataset.with_lists(whole)
    labeled, *pools = semi_dataset.build_sources(whole['labeled'], whole.get('unlabeled'))
    for dataset in (labeled, *pools):
        read_names(dataset, semi_dataset.KEY)
    sources = dict(labeled=[labeled], unlabeled=pools)
    if cfg.get('val_dataloader'):
        val_cfg = dict(cfg.val_dataloader.dataset)
        val_cfg = resolve_source(val_cfg, 'val_dataloader.dataset')
        sources['val'] = [semi_dataset.DATASETS.build(dict(val_cfg, lazy_init=True))]
        read_names(sources['val'][0], 'val_dataloader.dataset')
    files = {kind: _named_files(datasets) for kind, datasets in sources.items()}
    ann_file = getattr(labeled, 'ann_file', '')
    return Lists(
        str(cfg.filename),
        *(list(files.get(kind, {})) for kind in ('labeled', 'unlabeled', 'val')),
        manifest=read_manifest(Path(ann_file).parent) if ann_file else None,
        files=files,
        protocol=whole.get('protocol'),
        classes=labeled.metainfo['classes'],
        masks=[lambda i=i: load_class_indices(labeled, i) for i in range(len(labeled))],
        allow_overlap=whole.get('allow_overlap', False),
        by_path=True,
        remarks=lambda: remarks_on_data(
            labeled, pools, sources.get('val', [None])[0], load_class_indices
        ),
    )


def _named_files(datasets: Sequence[BaseDataset]) -> dict[str, Path]:
    return {
        name: Path(dataset.get_data_info(i)['img_path'])
        for dataset in datasets
        for i, name in enumerate(semi_dataset.image_names(dataset))
    }


# -------------------------------------------------------------------------------------------- check


@dataclass
class Findings:
    """Result of :func:`check`.

    Args:
        problems: Mistakes to fix, in words.
        warnings: Facts to know, in words.
        published: Mistakes of lists that equal the published ones.
        passed: Checks that passed.
        skipped: Checks that could not be made, and the options that enable them.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """One line for each finding."""
        for word, texts in (
            ('ok', self.passed),
            ('not checked', self.skipped),
            ('as published', self.published),
            ('warning', self.warnings),
            ('problem', self.problems),
        ):
            for text in texts:
                yield f'{word}: {text}'


def check(lists: Lists) -> Findings:
    """Find images in several lists, and lists that do not match their protocol.

    Compares names and, if the images are known, contents (SHA-256 of files of equal size).
    """
    found = Findings()
    as_published = _check_hashes(lists, found)
    labeled, unlabeled, val = map(lists.ids, ('labeled', 'unlabeled', 'val'))
    overlaps = find_problems(labeled, unlabeled, val)
    for text in overlaps:
        if as_published:
            found.published.append(text)
        elif lists.allow_overlap and text not in [
            *find_problems(labeled, [], val),
            *find_problems([], unlabeled, val),
        ]:
            found.warnings.append(text)
        else:
            found.problems.append(text)
    if not overlaps:
        found.passed.append('no image is a duplicate or in two of the lists')
    if not lists.val and 'val' not in lists.files:
        found.skipped.append('validation images, which are not known (set --val)')
    _check_complete(lists, found)
    _check_contents(lists, found)
    for remark in lists.remarks():
        (found.problems if remark.is_error else found.warnings).append(remark.text)
    return found


def _check_hashes(lists: Lists, found: Findings) -> bool:
    """Compare with protocol and manifest; return whether the lists are a published pair."""
    published = lists.published
    expected, name = lists.manifest, (lists.manifest or {}).get('protocol')
    if published:
        expected, name = published, lists.protocol or name
        if 'sha256' not in published['unlabeled']:  # its names are known to the import alone
            expected = dict(lists.manifest or {}, labeled=published['labeled'])
            if 'unlabeled' not in expected:
                found.skipped.append(f'the unlabelled list, since there is no {MANIFEST} beside it')
    if expected is None:
        found.skipped.append(f'hashes, since there is no {MANIFEST} to compare with')
        return False
    is_match = True
    for kind in KINDS:
        names = getattr(lists, kind)
        if not names or kind not in expected:
            continue
        if hash_names(names) != expected[kind]['sha256']:
            is_match = False
            found.problems.append(
                f'the {KINDS[kind]} list is not that of {name!r}: {len(names)} names with SHA-256 '
                f'{hash_names(names)}, expected {expected[kind]["count"]} with '
                f'{expected[kind]["sha256"]}'
            )
    if is_match:
        found.passed.append(f'the lists are {name!r}' + (', as published' if published else ''))
    return is_match and published is not None


def _check_complete(lists: Lists, found: Findings) -> None:
    """Compare the names of both lists with those of all training images."""
    listed = set(lists.labeled) | set(lists.unlabeled)
    drawn_from = (lists.manifest or {}).get('images')
    if lists.everything is not None:
        everything = set(lists.everything)
        for names, what in (
            (everything - listed, 'training images are in neither list'),
            (listed - everything, 'names in the lists are no training image'),
        ):
            if names:
                found.problems.append(f'{len(names)} {what}, e.g. {min(names)}')
        if everything == listed:
            found.passed.append(f'the lists hold all {len(everything)} training images')
    elif drawn_from and lists.unlabeled:
        count = drawn_from['count']
        if hash_names(listed) != drawn_from['sha256']:
            found.problems.append(
                f'the lists together are not the {count} images they were drawn from'
            )
        else:
            found.passed.append(f'the lists hold all {count} images they were drawn from')


def _check_contents(lists: Lists, found: Findings) -> None:
    """Find files with equal bytes: a problem between the lists, a warning within one."""
    # one entry for each file: images whose name is in two lists are reported already
    kinds: dict[Path, tuple[str, str]] = {}
    for kind in (*KINDS, 'val'):
        for name, path in lists.files.get(kind, {}).items():
            kinds.setdefault(path.resolve(), (KINDS.get(kind, 'validation'), name))
    missing = [path for path in kinds if not path.is_file()]
    if missing:
        found.problems.append(f'{len(missing)} images do not exist, e.g. {missing[0]}')
    if not kinds:
        found.skipped.append('contents of images, which are not known (set --images)')
        return
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for first, *copies in equal_files([path for path in kinds if path.is_file()]):
        for copy in copies:
            pairs[kinds[first][0], kinds[copy][0]].append((kinds[first][1], kinds[copy][1]))
    for (one, other), names in pairs.items():
        where = f'{one} and {other} images' if one != other else f'{one} images'
        allowed = one == other or (lists.allow_overlap and {one, other} == {*KINDS.values()})
        (found.warnings if allowed else found.problems).append(
            f'{len(names)} {where} have the same content under two names, e.g. '
            f'{" and ".join(names[0])}'
        )
    if not pairs:
        found.passed.append(f'no two of {len(kinds)} images have the same content')


def equal_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Groups of files with equal bytes, each in the order of ``paths``."""
    by_size = _grouped(paths, [path.stat().st_size for path in paths])
    same_size = [path for group in by_size for path in group]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = list(_bar(pool.map(_digest, same_size), len(same_size), 'comparing contents'))
    return _grouped(same_size, digests)


def _digest(path: Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _grouped(items: Iterable[Path], keys: Iterable[Any]) -> list[list[Path]]:
    groups = defaultdict(list)
    for item, key in zip(items, keys, strict=True):
        groups[key].append(item)
    return [group for group in groups.values() if len(group) > 1]


# ----------------------------------------------------------------------------------------- describe


def describe(lists: Lists) -> list[str]:
    """Describe lists in lines of text: protocol, source, counts, hashes, pixels of each class."""
    manifest = lists.manifest or {}
    name = lists.protocol or manifest.get('protocol') or 'none'
    lines = [lists.title, f'protocol    {name}']
    source = lists.published['source'] if lists.published else manifest.get('source')
    if isinstance(source, Mapping):
        source = f'{source["repository"]} at {source["commit"]}, {source["folder"]}'
    for word, value in (
        ('source', source),
        ('seed', manifest.get('seed')),
        ('balance', manifest.get('balance')),
        ('group', manifest.get('group')),
    ):
        if value is not None:
            lines.append(f'{word:<11} {value}')
    for kind, word in (*KINDS.items(), ('val', 'validation')):
        names = getattr(lists, kind)
        if names:
            info = summarize(names)
            lines.append(f'{word:<11} {info["count"]:>7} images, SHA-256 {info["sha256"]}')
    lines += [f'warning     {text}' for text in manifest.get('problems', ())]
    if lists.masks:
        lines += _class_table(*count_pixels(lists.masks), lists.classes)
    return lines


def count_pixels(masks: Sequence[Callable[[], np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of each label, and the images that show it.

    Args:
        masks: Functions that return (H, W) labels, 0 to 255.

    Returns:
        tuple[np.ndarray, np.ndarray]: Number of pixels and number of images, (256,) int64 each.

    Raises:
        SetupError: If a mask holds another label.
    """

    def count(read: Callable[[], np.ndarray]) -> np.ndarray:
        labels = read()
        if (
            labels.dtype != np.uint8
            and labels.size
            and not 0 <= labels.min() <= labels.max() <= 255
        ):
            raise SetupError(
                f'a mask holds the label {labels.max()}, expected 0 to 255; name a config, whose '
                'data set maps such labels'
            )
        return cv2.calcHist([labels.astype(np.uint8)], [0], None, [256], [0, 256]).reshape(-1)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        pixels, images = np.zeros(256, np.int64), np.zeros(256, np.int64)
        for counts in _bar(pool.map(count, masks), len(masks), 'counting classes'):
            pixels += counts.astype(np.int64)
            images += counts > 0
    return pixels, images


def _class_table(
    pixels: np.ndarray, images: np.ndarray, classes: Sequence[str] | None
) -> Iterator[str]:
    names = dict(enumerate(classes)) if classes else {i: str(i) for i in np.flatnonzero(pixels)}
    names.pop(IGNORE, None)
    width = max(5, *(len(name) for name in names.values())) if names else 5
    labelled = max(int(pixels[:IGNORE].sum()), 1)
    yield f'{"class":<{width}}  {"pixels":>13}  {"share":>7}  {"images":>7}'
    for i, name in names.items():
        share = pixels[i] / labelled
        yield f'{name:<{width}}  {pixels[i]:>13,}  {share:>7.2%}  {images[i]:>7,}'
    if pixels[IGNORE]:
        yield f'ignored: {pixels[IGNORE]:,} pixels, {pixels[IGNORE] / pixels.sum():.2%} of all'


def _bar(steps: Iterable, total: int, title: str) -> Iterable:
    console = Console(stderr=True)
    return track(
        steps, title, total, console=console, transient=True, disable=not console.is_terminal
    )
