"""Inspect all images and masks of a config before training: damaged, unusual and duplicate files.

:func:`sources_of` finds the data of a config, and :func:`inspect` reads every file once, with the
loaders of training, and returns a :class:`Report`. Masks of unlabelled images are not opened.
"""

from __future__ import annotations

import hashlib
import os.path as osp
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import mmengine.fileio as fileio
import numpy as np

from mmseg_semi.data.bands import picture_of
from mmseg_semi.data.names import read_bytes
from mmseg_semi.data.remarks import MaskFacts, orientation, remarks_on_images, remarks_on_masks
from mmseg_semi.data.transforms import LoadSegLabels, read_labels
from mmseg_semi.errors import SetupError, UnreadableFileError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.duplicates import content_numbers, fingerprint, near_pairs, repeated
from mmseg_semi.preparing.inspection_report import (
    ERROR,
    KINDS,
    WARNING,
    Case,
    Finding,
    Report,
    Survey,
)
from mmseg_semi.preparing.inspection_sources import (
    ROLES,
    Source,
    dataset_source,
    folder_source,
    sources_of,
)

__all__ = [
    'ERROR',
    'KINDS',
    'ROLES',
    'WARNING',
    'Case',
    'Finding',
    'Report',
    'Source',
    'Survey',
    'dataset_source',
    'folder_source',
    'inspect',
    'sources_of',
]

Place = tuple[int, int]
"""Index of a source, and of an image in it."""


def inspect(
    sources: Sequence[Source],
    jobs: int = 1,
    allow_overlap: bool = False,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Report:
    """Read all files of all sources and report what is wrong with them.

    Needs about 250 bytes of memory an image, whatever its size, and a few decoded images a job.

    Args:
        sources: From :func:`sources_of` or :func:`folder_source`.
        jobs: Number of threads that read images.
        allow_overlap: Whether an image may be labelled and unlabelled.
        progress: Wraps the iteration over ``total`` images, to show a progress bar.
    """
    scan = _Scan(sources)
    # this thread alone reads entries: it opens and closes the indexes of shards as it goes
    places = (
        ((s, i), source.entry(i)) for s, source in enumerate(sources) for i in range(source.size)
    )
    with ThreadPoolExecutor(jobs) as pool:
        contents = _map(pool, lambda item: _look(sources, *item), places, 4 * jobs)
        for number, content in enumerate(progress(contents, scan.total)):
            scan.add(number, content)
    _find_absent_classes(scan)
    _add_remarks(scan)
    _find_duplicates(scan, allow_overlap)
    order = list(KINDS)
    return Report(scan.surveys, sorted(scan.findings.values(), key=lambda f: order.index(f.kind)))


@dataclass
class _Content:
    """What was read of one image and its mask.

    Args:
        source: Index of the source.
        digest: Hash of the image file, 16 bytes; None if the file could not be read.
        print: Fingerprint of the image, see :func:`fingerprint`; None if it has none.
        size: (width, height) in pixels; None if the image could not be decoded.
        orientation: EXIF orientation of a labelled image, by which it is shown; 1 leaves the stored pixels.
        facts: Of the mask, whose ``counts`` are the number of pixels of each label; None without a
            readable mask.
        trouble: Kind and case of each finding.
    """

    source: int
    digest: bytes | None = None
    print: np.ndarray | None = None
    size: tuple[int, int] | None = None
    orientation: int = 1
    facts: MaskFacts | None = None
    trouble: list[tuple[str, Case]] = field(default_factory=list)


class _Scan:
    """Hashes, statistics and findings of all sources, filled image by image."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.starts = np.cumsum([0] + [source.size for source in sources])
        self.total = total = int(self.starts[-1])
        self.digests, self.prints = np.zeros((total, 16), np.uint8), np.zeros((total, 16), np.uint8)
        self.has_digest, self.has_print = np.zeros(total, bool), np.zeros(total, bool)
        self.surveys = [Survey(source) for source in sources]
        self.findings: dict[tuple[str, str], Finding] = {}
        self.facts: list[list[MaskFacts]] = [[] for _ in sources]

    def add(self, number: int, content: _Content) -> None:
        """Add an image, by its number through all sources."""
        survey = self.surveys[content.source]
        if content.digest is not None:
            self.digests[number] = np.frombuffer(content.digest, np.uint8)
            self.has_digest[number] = True
        if content.print is not None:
            self.prints[number], self.has_print[number] = content.print, True
        if content.size is not None:
            survey.sizes[content.size] += 1
        if content.facts is not None:
            survey.masks += 1
            survey.pixels += content.facts.counts
            survey.images += content.facts.counts > 0
            if survey.source.own is not None:
                self.facts[content.source].append(content.facts)
        for kind, case in content.trouble:
            self.report(kind, survey.source, case)

    def report(self, kind: str, source: Source, case: Case) -> None:
        """Add a case to the findings."""
        self.finding(kind, source).add(case)

    def finding(self, kind: str, source: Source) -> Finding:
        """The finding of a kind in a source, a new one if there is none."""
        return self.findings.setdefault((kind, source.name), Finding(kind, source.name))

    def place(self, number: int) -> Place:
        """Source and index of an image from its number through all sources."""
        s = int(np.searchsorted(self.starts, number, side='right')) - 1
        return s, int(number - self.starts[s])

    def path(self, place: Place) -> str:
        """Path of an image."""
        return self.sources[place[0]].entry(place[1])['img_path']

    def alike(self, place: Place, other: Place, text: str = 'same content') -> Case:
        """A case of two images that are alike."""
        names = ' and '.join(self.sources[s].name for s, _ in (place, other))
        return Case((self.path(place), self.path(other)), f'{text} ({names})', (place, other))


def _map(pool: ThreadPoolExecutor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """Executor.map with at most ``ahead`` results waiting."""
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


# ---------------------------------------------------------------------------------------- one image


def _look(sources: Sequence[Source], place: Place, info: dict) -> _Content:
    """Read one image, of which ``info`` is the entry, and its mask."""
    content = _Content(place[0])
    source = sources[place[0]]
    _look_at_image(content, source, place, info)
    if source.load_labels is not None:
        _look_at_mask(content, source, place, info)
    return content


def _look_at_image(content: _Content, source: Source, place: Place, info: dict) -> None:
    path = info['img_path']
    loaded = {}
    try:
        if 'img_span' in info:
            loaded['img_bytes'] = read_bytes(*info['img_span'])
        else:
            loaded['img_bytes'] = fileio.get(path, backend_args=source.backend_args)
    except Exception:  # the loader, next, raises an error with a better message
        pass
    else:
        content.digest = hashlib.blake2b(loaded['img_bytes'], digest_size=16).digest()
        if source.load_labels is not None:
            content.orientation = orientation(loaded['img_bytes'])
    try:
        img = picture_of(source.load_image({**info, **loaded, 'seg_fields': []}))
    except Exception as error:
        content.trouble.append(('unreadable', Case((path,), _message(error))))
        return
    content.size = img.shape[1], img.shape[0]
    content.print = fingerprint(img)


def _look_at_mask(content: _Content, source: Source, place: Place, info: dict) -> None:
    path, mask = info['img_path'], info['seg_map_path']
    try:
        labels = source.load_labels({**info, 'seg_fields': []})['gt_seg_map']
    except Exception as error:
        # a SetupError is about the values of a mask that was read; any other error, about the file
        is_wrong = isinstance(error, SetupError) and not isinstance(error, UnreadableFileError)
        text = _message(error)
        if is_wrong and isinstance(source.load_labels, LoadSegLabels):
            text = _describe_values(mask, source.backend_args)  # all, not the first wrong one
        kind = 'labels' if is_wrong else 'unreadable'
        content.trouble.append((kind, Case((mask,), text, (place,))))
        return
    content.facts = MaskFacts.of(mask, labels)
    height, width = labels.shape
    if content.size is not None and (width, height) != content.size:
        text = 'mask {} x {}, image {} x {} pixels (width x height)'.format(
            width, height, *content.size
        )
        content.trouble.append(('size', Case((path, mask), text, (place,))))
    # a mask that lies as the image is shown, and not as it is stored, follows the tag; half turns and squares do not show it
    follows = content.orientation >= 5 and width != height and (width, height) == content.size
    if content.orientation != 1 and not follows:
        text = 'is shown by its EXIF orientation; store it upright if the mask was drawn on the stored pixels'
        content.trouble.append(('turned', Case((path,), text, (place,))))
    if content.facts.counts[IGNORE] == content.facts.counts.sum():
        content.trouble.append(('void', Case((mask,), 'all 255', (place,))))


def _message(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if isinstance(error, SetupError) else f'{type(error).__name__}: {text}'


def _describe_values(mask: str, backend_args: dict | None) -> str:
    """The values of a mask that should hold class indices, in words."""
    try:
        labels = read_labels(mask, backend_args)
    except SetupError as error:
        return _message(error)
    values, counts = np.unique(labels, return_counts=True)
    pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
    shown = ', '.join(f'{value} ({count} px)' for value, count in pairs[-12:])
    return f'values {"... " if len(pairs) > 12 else ""}{shown}'


# --------------------------------------------------------------------------------------- all images


def _find_absent_classes(scan: _Scan) -> None:
    """Report classes that no mask of a source shows."""
    for survey in scan.surveys:
        for row in survey.class_rows() if survey.masks else ():
            if not row['masks']:
                case = Case((), f'{row["name"]} (label {row["label"]})')
                scan.report('absent', survey.source, case)


def _add_remarks(scan: _Scan) -> None:
    """Report what training remarks about own data, but for absent and turned ones, which are reported."""
    for source, facts in zip(scan.sources, scan.facts, strict=True):
        if source.own is None or source.load_labels is None:
            continue
        where = 'labelled' if source.role == 'labeled' else 'validation'
        by_color = source.own.mask_map.by_color
        for remark in remarks_on_masks(facts, source.classes, where, source.own.source, by_color):
            if remark.is_error:
                scan.report('meaning', source, Case((), remark.text))
            elif remark.kind != 'absent':
                scan.report('remark', source, Case((), remark.text))
    paths: dict[str, list[str]] = {role: [] for role in ROLES}
    local = [s for s in scan.sources if s.own is not None and not s.backend_args]
    for source in local:
        paths[source.role] += [source.entry(i)['img_path'] for i in range(source.size)]
    if not paths['labeled']:
        return
    for remark in remarks_on_images(paths['labeled'], paths['unlabeled'], sample=scan.total):
        if remark.kind == 'turned':
            continue
        labeled = next(source for source in local if source.role == 'labeled')
        scan.report('remark', labeled, Case((), remark.text))


def _find_duplicates(scan: _Scan, allow_overlap: bool) -> None:
    """Report images with the same content, and images that are nearly alike."""
    known = np.flatnonzero(scan.has_digest)
    numbers = content_numbers(scan.digests[known])
    for group in repeated(numbers):
        _report_copies(scan, [scan.place(n) for n in known[group]], allow_overlap)
    contents = np.full(scan.total, -1)
    contents[known] = numbers
    structured = np.flatnonzero(scan.has_print)
    _find_near(scan, structured, contents[structured])


def _report_copies(scan: _Scan, places: Sequence[Place], allow_overlap: bool) -> None:
    """Report images with the same content under the most serious kind that applies."""
    path_of = {place: osp.abspath(scan.path(place)) for place in places}
    of_role = {
        role: [place for place in places if scan.sources[place[0]].role == role] for role in ROLES
    }
    training = of_role['labeled'] + of_role['unlabeled']
    if of_role['val'] and training:
        for place in of_role['val']:
            scan.report('leak', scan.sources[place[0]], scan.alike(place, training[0]))
    elif of_role['labeled'] and of_role['unlabeled']:
        labeled_paths = {path_of[place] for place in of_role['labeled']}
        for place in of_role['unlabeled']:
            kind = 'overlap' if path_of[place] in labeled_paths else 'twin'
            kind += '_allowed' if allow_overlap else ''
            case = scan.alike(place, of_role['labeled'][0])
            scan.report(kind, scan.sources[place[0]], case)
    elif len(set(path_of.values())) > 1:  # val and test may share a file
        for place in places[1:]:
            scan.report('copy', scan.sources[place[0]], scan.alike(place, places[0]))


def _find_near(scan: _Scan, numbers: np.ndarray, contents: np.ndarray) -> None:
    """Report images that are nearly alike and play different roles.

    Args:
        scan: Holds fingerprints; receives the findings.
        numbers: (N,) numbers of the images that have a fingerprint.
        contents: (N,) numbers that are equal for equal files, which are reported already.
    """
    owners = np.searchsorted(scan.starts, numbers, side='right') - 1
    roles = np.array([ROLES.index(source.role) for source in scan.sources])[owners]
    near = near_pairs(scan.prints[numbers], roles, contents)
    touched = np.zeros((len(numbers), len(ROLES)), bool)
    touched[:, : near.touched.shape[1]] = near.touched
    for s, source in enumerate(scan.sources):
        own = owners == s
        if source.role == 'val':
            kind, others = 'near_val', (ROLES.index('labeled'), ROLES.index('unlabeled'))
        elif source.role == 'unlabeled':
            kind, others = 'near', (ROLES.index('labeled'),)
        else:
            continue
        count = int(touched[own][:, others].any(axis=1).sum())
        if not count:
            continue
        finding = scan.finding(kind, source)
        met = set()
        for pair, bits in zip(near.pairs, near.distances, strict=True):
            for one, other in (pair, pair[::-1]):
                if owners[one] == s and roles[other] in others and one not in met:
                    met.add(one)  # only the closest partner of each image
                    place, partner = (scan.place(numbers[n]) for n in (one, other))
                    finding.add(scan.alike(place, partner, f'{bits} of 128 bits differ'))
        finding.count = count  # near_pairs keeps a limited number of pairs
