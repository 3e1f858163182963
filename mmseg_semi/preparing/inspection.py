"""A scan of all images and masks of a config, before training: what is broken, odd, or there twice.

:func:`sources_of` finds the data of a config, :func:`inspect` reads every file once, with the loaders
that training has, and answers with a :class:`Report`. Masks of unlabelled images are not opened.

An *error* is what training would stop at, or what makes the score wrong; a *warning* is what it would
go on with.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os.path as osp
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import mmengine.fileio as fileio
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_semi.data.checks import read_names, resolve_source
from mmseg_semi.data.names import read_bytes
from mmseg_semi.data.semi_dataset import KEY, SemiDataset
from mmseg_semi.data.transforms import LoadImage, LoadSegLabels, read_labels
from mmseg_semi.errors import SetupError, UnreadableFileError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.duplicates import content_numbers, fingerprint, near_pairs, repeated

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
ROLES = ('labeled', 'unlabeled', 'val')

ERROR, WARNING = 'error', 'warning'

# What can be found: kind -> (level, what it is).
KINDS = {
    'unreadable': (ERROR, 'files that are missing, cut short or no images'),
    'size': (ERROR, 'masks of another size than their image'),
    'labels': (ERROR, 'masks with values that are no class'),
    'leak': (ERROR, 'validation images that are training images too'),
    'overlap': (ERROR, 'labelled images that are unlabelled too'),
    'twin': (ERROR, 'unlabelled images with the content of a labelled one'),
    'overlap_allowed': (WARNING, 'labelled images that are unlabelled too (allow_overlap)'),
    'twin_allowed': (
        WARNING,
        'unlabelled images with the content of a labelled one (allow_overlap)',
    ),
    'void': (WARNING, 'masks without a labelled pixel (all 255)'),
    'turned': (WARNING, 'images turned by their EXIF orientation, unlike their masks'),
    'absent': (WARNING, 'classes that no mask shows'),
    'copy': (WARNING, 'images with the content of another one of their kind'),
    'near_val': (WARNING, 'validation images that nearly equal a training image'),
    'near': (WARNING, 'unlabelled images that nearly equal a labelled one'),
}
_KEPT = 1000


# ------------------------------------------------------------------------------------- what is there


@dataclass
class Source:
    """Images that play one role, and how training reads them."""

    name: str
    """'labeled', 'unlabeled', 'unlabeled[1]', 'val' or 'test'."""
    role: str
    """One of ROLES; test images count as 'val'."""
    size: int
    entry: Callable[[int], dict]
    """Number of an image -> dict with 'img_path' and, unless unlabelled, 'seg_map_path'."""
    load_image: Callable[[dict], dict]
    load_labels: Callable[[dict], dict] | None = None
    """None for unlabelled images, whose masks are never opened."""
    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] | None = None
    backend_args: dict | None = None
    note: str = ''
    """The protocol that the lists are, for reports."""


def sources_of(cfg: Config) -> list[Source]:
    """The labelled, unlabelled, validation and test images that a config names.

    Args:
        cfg: A whole config. Its lists and folders must exist; single files need not.

    Raises:
        SetupError: A list or a folder is missing or empty, the lists are not those of the protocol, or
            the sources disagree on the classes.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    train = DATASETS.build({**cfg.train_dataloader.dataset, 'lazy_init': True})
    if isinstance(train, SemiDataset):
        labeled, *pools = train.datasets
    else:
        labeled, pools = train, []
    sources = [_of_dataset(labeled, 'labeled', 'labeled', f'{KEY}.labeled')]
    for i, pool in enumerate(pools):
        name = f'unlabeled[{i}]' if len(pools) > 1 else 'unlabeled'
        sources.append(_of_dataset(pool, name, 'unlabeled', f'{KEY}.{name}'))
    if isinstance(train, SemiDataset):
        train.identify_protocol()
        sources[0].note = train.protocol['protocol'] or 'none is named'
    seen = []
    for name in ('val', 'test'):
        wanted = (cfg.get(f'{name}_dataloader') or {}).get('dataset')
        if wanted is None:
            continue
        files = {key: value for key, value in wanted.items() if key != 'pipeline'}
        if files not in seen:
            seen.append(files)
            key = f'{name}_dataloader.dataset'
            built = DATASETS.build({**resolve_source(wanted, key), 'lazy_init': True})
            sources.append(_of_dataset(built, name, 'val', key))
    return sources


def _of_dataset(dataset: BaseDataset, name: str, role: str, key: str) -> Source:
    if not isinstance(dataset, BaseDataset):
        raise SetupError(
            f'{key}.type={type(dataset).__name__} is no BaseDataset and cannot be scanned; give the '
            'data set that it wraps'
        )
    read_names(dataset, key)
    classes = dataset.metainfo.get('classes') or ()
    load_image, load_labels = LoadImage(), None
    if role != 'unlabeled':
        # 255 classes: any value of 8 bits
        load_labels = LoadSegLabels(num_classes=len(classes) or IGNORE)
    for step in dataset.pipeline.transforms:
        if isinstance(step, LoadImage):
            load_image = copy.copy(step)
            load_image.defer = False  # all pixels are looked at
        # MMSegmentation's own loader does not check values; what others do is theirs to say
        elif isinstance(step, LoadAnnotations) and type(step) is not LoadAnnotations:
            load_labels = step if role != 'unlabeled' else None
    return Source(
        name,
        role,
        len(dataset),
        dataset.get_data_info,
        load_image,
        load_labels,
        classes,
        dataset.metainfo.get('palette'),
        getattr(dataset, 'backend_args', None),
    )


def folder_source(
    name: str, role: str, images: Path, masks: Path | None = None, num_classes: int | None = None
) -> Source:
    """The images below a folder, with masks of the same names below another.

    Args:
        name: What reports call it.
        role: One of ROLES.
        images: Folder of images, searched with its subfolders.
        masks: Folder of masks; None for unlabelled images.
        num_classes: Masks hold 0 .. num_classes - 1 and 255; None to count values unchecked.

    Raises:
        SetupError: A folder is missing, or there is no image.
    """
    for folder in (images, masks):
        if folder is not None and not folder.is_dir():
            raise SetupError(f'{name}: {folder} is no folder; name the folder of the files')
    files = _images_below(images)
    if not files:
        raise SetupError(f'{name}: {images} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    found = {}
    if masks is not None:
        found = {p.relative_to(masks).with_suffix(''): p for p in _images_below(masks)}

    def entry(index: int) -> dict:
        info: dict[str, Any] = dict(img_path=str(files[index]))
        if masks is not None:
            stem = files[index].relative_to(images).with_suffix('')
            info['seg_map_path'] = str(found.get(stem, masks / f'{stem}.png'))
        return info

    load_labels = None if masks is None else LoadSegLabels(num_classes=num_classes or IGNORE)
    classes = [str(number) for number in range(num_classes or 0)]
    return Source(name, role, len(files), entry, LoadImage(), load_labels, classes)


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)


# ----------------------------------------------------------------------------------------- the report


class Case(NamedTuple):
    """One instance of a finding."""

    files: tuple[str, ...]
    """The file; or image and mask; or two or more images that are alike."""
    text: str
    """What is wrong with it, in words."""
    places: tuple[tuple[int, int], ...] = ()
    """(source, number) of the images, for pictures."""


@dataclass
class Finding:
    """One kind of trouble in one source."""

    kind: str
    source: str
    count: int = 0
    cases: list[Case] = field(default_factory=list)
    """At most a thousand of them."""

    @property
    def level(self) -> str:
        return KINDS[self.kind][0]

    @property
    def what(self) -> str:
        return KINDS[self.kind][1]

    def add(self, case: Case) -> None:
        self.count += 1
        if len(self.cases) < _KEPT:
            self.cases.append(case)


@dataclass
class Survey:
    """What one source holds."""

    source: Source
    sizes: Counter = field(default_factory=Counter)
    """(width, height) -> images."""
    masks: int = 0
    """Masks that could be read."""
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    """(256,): pixels of each label, 255 is void."""
    images: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    """(256,): masks that show each label."""

    def class_rows(self) -> list[dict]:
        """Name, share of the labelled pixels and number of masks of each class."""
        labels = range(len(self.source.classes)) or np.flatnonzero(self.images[:IGNORE]).tolist()
        labelled = max(int(self.pixels[:IGNORE].sum()), 1)
        return [
            dict(
                name=self.source.classes[k] if self.source.classes else str(k),
                label=int(k),
                share=float(self.pixels[k] / labelled),
                masks=int(self.images[k]),
            )
            for k in labels
        ]

    @property
    def void(self) -> float:
        """Share of void pixels."""
        return float(self.pixels[IGNORE] / max(int(self.pixels.sum()), 1))

    def size_row(self) -> dict:
        """Number of sizes, the most frequent one, and smallest, median and largest width and height."""
        if not self.sizes:
            return {}
        (common, count), *_ = self.sizes.most_common(1)
        row = dict(different=len(self.sizes), most_frequent=list(common), of=count)
        for name, axis in (('width', 0), ('height', 1)):
            values = sorted((size[axis], n) for size, n in self.sizes.items())
            row[name] = [values[0][0], _median(values), values[-1][0]]
        return row


def _median(values: Sequence[tuple[int, int]]) -> int:
    """Lower median of sorted (value, count)."""
    half, seen = math.ceil(sum(n for _, n in values) / 2), 0
    for value, n in values:
        seen += n
        if seen >= half:
            return value
    raise ValueError('no values')


@dataclass
class Report:
    """All that a scan found."""

    surveys: list[Survey]
    findings: list[Finding]

    def count(self, level: str) -> int:
        """Findings of this level."""
        return sum(finding.level == level for finding in self.findings)

    def as_dict(self) -> dict:
        """Plain types, for JSON."""
        return dict(
            errors=self.count(ERROR),
            warnings=self.count(WARNING),
            sources=[
                dict(
                    name=survey.source.name,
                    role=survey.source.role,
                    protocol=survey.source.note or None,
                    images=survey.source.size,
                    sizes=survey.size_row(),
                    masks=survey.masks,
                    void=survey.void if survey.masks else None,
                    classes=survey.class_rows() if survey.masks else None,
                )
                for survey in self.surveys
            ],
            findings=[
                dict(
                    kind=finding.kind,
                    level=finding.level,
                    source=finding.source,
                    count=finding.count,
                    what=finding.what,
                    cases=[dict(files=list(case.files), text=case.text) for case in finding.cases],
                )
                for finding in self.findings
            ],
        )


# ------------------------------------------------------------------------------------------- the scan


class _Look(NamedTuple):
    """What one image and its mask gave."""

    source: int
    digest: bytes | None = None
    print: np.ndarray | None = None
    size: tuple[int, int] | None = None
    counts: np.ndarray | None = None
    trouble: tuple[tuple[str, Case], ...] = ()


def inspect(
    sources: Sequence[Source],
    jobs: int = 1,
    allow_overlap: bool = False,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Report:
    """Read all files of all sources.

    Memory: about 250 bytes an image, whatever its size, and a few decoded images a job.

    Args:
        sources: From :func:`sources_of` or :func:`folder_source`.
        jobs: Images that are read at a time, by threads.
        allow_overlap: Whether an image may be labelled and unlabelled.
        progress: Wraps the iteration over ``total`` images, to show a bar.
    """
    total = sum(source.size for source in sources)
    # entries are read by this thread alone: indexes of shards are opened and closed as it goes
    places = (
        ((s, i), source.entry(i)) for s, source in enumerate(sources) for i in range(source.size)
    )
    digests, prints = np.zeros((total, 16), np.uint8), np.zeros((total, 16), np.uint8)
    has_digest, has_print = np.zeros(total, bool), np.zeros(total, bool)
    surveys = [Survey(source) for source in sources]
    findings: dict[tuple[str, str], Finding] = {}

    def found(kind: str, source: Source, case: Case) -> None:
        finding = findings.setdefault((kind, source.name), Finding(kind, source.name))
        finding.add(case)

    with ThreadPoolExecutor(jobs) as pool:
        looks = _map(pool, lambda item: _look(sources, *item), places, 4 * jobs)
        for n, look in enumerate(progress(looks, total)):
            survey = surveys[look.source]
            if look.digest is not None:
                digests[n], has_digest[n] = np.frombuffer(look.digest, np.uint8), True
            if look.print is not None:
                prints[n], has_print[n] = look.print, True
            if look.size is not None:
                survey.sizes[look.size] += 1
            if look.counts is not None:
                survey.masks += 1
                survey.pixels += look.counts
                survey.images += look.counts > 0
            for kind, case in look.trouble:
                found(kind, survey.source, case)

    for survey in surveys:
        for row in survey.class_rows() if survey.masks else ():
            if not row['masks']:
                text = f'{row["name"]} (label {row["label"]})'
                found('absent', survey.source, Case((), text))

    starts = np.cumsum([0] + [source.size for source in sources])
    known = np.flatnonzero(has_digest)
    numbers = content_numbers(digests[known])
    _find_copies(sources, starts, [known[rows] for rows in repeated(numbers)], allow_overlap, found)
    contents = np.full(total, -1)
    contents[known] = numbers
    structured = np.flatnonzero(has_print)
    _find_near(sources, starts, structured, prints[structured], contents[structured], findings)
    order = list(KINDS)
    return Report(surveys, sorted(findings.values(), key=lambda f: order.index(f.kind)))


def _map(pool: ThreadPoolExecutor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """Executor.map that never has more than ``ahead`` results in waiting."""
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for job in waiting:
            job.cancel()


def _look(sources: Sequence[Source], place: tuple[int, int], info: dict) -> _Look:
    source = sources[place[0]]
    path, places = info['img_path'], (place,)
    trouble: list[tuple[str, Case]] = []
    digest = print_ = size = counts = img = None
    turned, content = False, {}
    try:
        if 'img_span' in info:
            content['img_bytes'] = read_bytes(*info['img_span'])
        else:
            content['img_bytes'] = fileio.get(path, backend_args=source.backend_args)
    except Exception:  # the loader, next, has the words for it
        pass
    else:
        digest = hashlib.blake2b(content['img_bytes'], digest_size=16).digest()
        turned = source.load_labels is not None and _orientation(content['img_bytes']) != 1
    try:
        img = source.load_image({**info, **content, 'seg_fields': []})['img']
    except Exception as error:
        trouble.append(('unreadable', Case((path,), _words(error))))
    else:
        size = img.shape[1], img.shape[0]
        print_ = fingerprint(img)
    if turned and img is not None:
        trouble.append(
            ('turned', Case((path,), 'has an EXIF orientation; store it upright', places))
        )

    if source.load_labels is not None:
        mask = info['seg_map_path']
        try:
            labels = source.load_labels({**info, 'seg_fields': []})['gt_seg_map']
        except Exception as error:
            # what is not said to be readable is taken as not
            wrong = isinstance(error, SetupError) and not isinstance(error, UnreadableFileError)
            text = _words(error)
            if wrong and isinstance(source.load_labels, LoadSegLabels):
                text = _values(mask, source.backend_args)  # all of them, not the first wrong one
            trouble.append(('labels' if wrong else 'unreadable', Case((mask,), text, places)))
        else:
            counts = np.bincount(labels.ravel(), minlength=256)
            if img is not None and labels.shape != img.shape[:2]:
                text = (
                    f'mask {labels.shape[1]} x {labels.shape[0]}, image {size[0]} x {size[1]} '
                    'pixels (width x height)'
                )
                trouble.append(('size', Case((path, mask), text, places)))
            if counts[IGNORE] == counts.sum():
                trouble.append(('void', Case((mask,), 'all 255', places)))
    return _Look(place[0], digest, print_, size, counts, tuple(trouble))


def _words(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if isinstance(error, SetupError) else f'{type(error).__name__}: {text}'


def _orientation(content: bytes) -> int:
    """EXIF orientation of a JPEG, 1 for upright."""
    try:
        picture = Image.open(io.BytesIO(content))
        if picture.format in ('JPEG', 'MPO'):
            return picture.getexif().get(0x0112, 1)
    except Exception:  # the loader reports what is broken
        pass
    return 1


def _values(mask: str, backend_args: dict | None) -> str:
    """What a mask holds that should hold class indices."""
    try:
        labels = read_labels(mask, backend_args)
    except SetupError as error:
        return _words(error)
    values, counts = np.unique(labels, return_counts=True)
    pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
    shown = ', '.join(f'{value} ({count} px)' for value, count in pairs[-12:])
    return f'values {"... " if len(pairs) > 12 else ""}{shown}'


# ----------------------------------------------------------------------------------------- duplicates


def _find_copies(
    sources: Sequence[Source],
    starts: np.ndarray,
    groups: Sequence[np.ndarray],
    allow_overlap: bool,
    found: Callable[[str, Source, Case], None],
) -> None:
    """Report images with the same content, each group once, under its worst name.

    ``groups`` hold two or more numbers of images, counted through all sources.
    """
    for group in groups:
        places = [_place(starts, n) for n in group]
        paths = [osp.abspath(sources[s].entry(i)['img_path']) for s, i in places]
        roles = {role: [p for p in places if sources[p[0]].role == role] for role in ROLES}
        training = roles['labeled'] + roles['unlabeled']
        if roles['val'] and training:
            for place in roles['val']:
                found('leak', sources[place[0]], _alike(sources, place, training[0]))
        elif roles['labeled'] and roles['unlabeled']:
            path_of = dict(zip(places, paths, strict=True))
            labeled = {path_of[place] for place in roles['labeled']}
            for place in roles['unlabeled']:
                kind = 'overlap' if path_of[place] in labeled else 'twin'
                kind += '_allowed' if allow_overlap else ''
                found(kind, sources[place[0]], _alike(sources, place, roles['labeled'][0]))
        elif len(set(paths)) > 1:  # val and test may share a file
            for place in places[1:]:
                found('copy', sources[place[0]], _alike(sources, place, places[0]))


def _alike(sources: Sequence[Source], place, other, text: str = 'same content') -> Case:
    files = tuple(sources[s].entry(i)['img_path'] for s, i in (place, other))
    names = f'{sources[place[0]].name} and {sources[other[0]].name}'
    return Case(files, f'{text} ({names})', (place, other))


def _find_near(
    sources: Sequence[Source],
    starts: np.ndarray,
    numbers: np.ndarray,
    prints: np.ndarray,
    contents: np.ndarray,
    findings: dict[tuple[str, str], Finding],
) -> None:
    """Report images that are nearly alike and play different roles."""
    owners = np.searchsorted(starts, numbers, side='right') - 1
    roles = np.array([ROLES.index(source.role) for source in sources])[owners]
    near = near_pairs(prints, roles, contents)
    touched = np.zeros((len(numbers), len(ROLES)), bool)
    touched[:, : near.touched.shape[1]] = near.touched
    for s, source in enumerate(sources):
        own = owners == s
        if source.role == 'val':
            kind, others = 'near_val', (0, 1)
        elif source.role == 'unlabeled':
            kind, others = 'near', (0,)
        else:
            continue
        count = int(touched[own][:, others].any(axis=1).sum())
        if not count:
            continue
        finding = findings[kind, source.name] = Finding(kind, source.name)
        met = set()
        for pair, bits in zip(near.pairs, near.distances, strict=True):
            for one, other in (pair, pair[::-1]):
                if owners[one] == s and roles[other] in others and one not in met:
                    met.add(one)  # the closest one of each image
                    place, partner = (_place(starts, numbers[n]) for n in (one, other))
                    finding.add(_alike(sources, place, partner, f'{bits} of 128 bits differ'))
        finding.count = count


def _place(starts: np.ndarray, number: int) -> tuple[int, int]:
    """(source, index in it) of an image counted through all sources."""
    s = int(np.searchsorted(starts, number, side='right')) - 1
    return s, int(number - starts[s])
