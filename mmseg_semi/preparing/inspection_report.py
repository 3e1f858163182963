"""The report of a data set inspection: what each source holds, and what was found in it.

An *error* stops training or makes the score wrong; a *warning* lets training go on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.inspection_sources import Source

ERROR, WARNING = 'error', 'warning'

KINDS = {
    'unreadable': (ERROR, 'files that are missing, cut short or no images'),
    'size': (ERROR, 'masks that differ in size from their image'),
    'labels': (ERROR, 'masks with values that are no class'),
    'leak': (ERROR, 'validation images that are training images too'),
    'overlap': (ERROR, 'labelled images that are unlabelled too'),
    'twin': (ERROR, 'unlabelled images with the content of a labelled image'),
    'overlap_allowed': (WARNING, 'labelled images that are unlabelled too (allow_overlap)'),
    'twin_allowed': (
        WARNING,
        'unlabelled images with the content of a labelled image (allow_overlap)',
    ),
    'meaning': (ERROR, 'masks that cannot mean what the classes say'),
    'void': (WARNING, 'masks without a labelled pixel (all 255)'),
    'turned': (WARNING, 'images with an EXIF orientation, which their masks may not follow'),
    'absent': (WARNING, 'classes that no mask shows'),
    'copy': (WARNING, 'images with the content of another image of the same role'),
    'remark': (WARNING, 'what training takes, and what is likely not meant'),
    'near_val': (WARNING, 'validation images that nearly equal a training image'),
    'near': (WARNING, 'unlabelled images that nearly equal a labelled image'),
}
"""Kind of a finding -> its level and its description."""

_MOST_CASES = 1000


class Case(NamedTuple):
    """One instance of a finding.

    Args:
        files: The file; or an image and its mask; or images that are alike.
        text: What is wrong, in words.
        places: Index of the source and of the image in it, of each image to show.
    """

    files: tuple[str, ...]
    text: str
    places: tuple[tuple[int, int], ...] = ()


@dataclass
class Finding:
    """All cases of one kind in one source.

    Args:
        kind: One of :data:`KINDS`.
        source: Name of the source.
        count: Number of cases.
        cases: The first thousand of them.
    """

    kind: str
    source: str
    count: int = 0
    cases: list[Case] = field(default_factory=list)

    @property
    def level(self) -> str:
        """'error' or 'warning'."""
        return KINDS[self.kind][0]

    @property
    def what(self) -> str:
        """Description of the kind."""
        return KINDS[self.kind][1]

    def add(self, case: Case) -> None:
        """Count a case, and keep it unless there are too many."""
        self.count += 1
        if len(self.cases) < _MOST_CASES:
            self.cases.append(case)


@dataclass
class Survey:
    """Statistics of one source.

    Args:
        source: The source.
        sizes: Number of images by (width, height).
        masks: Number of masks that could be read.
        pixels: (256,) int64: number of pixels of each label; 255 is the ignored label.
        images: (256,) int64: number of masks that show each label.
    """

    source: Source
    sizes: Counter = field(default_factory=Counter)
    masks: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    images: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def class_rows(self) -> list[dict]:
        """Name, label, share of the labelled pixels and number of masks of each class."""
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
        """Share of ignored pixels."""
        return float(self.pixels[IGNORE] / max(int(self.pixels.sum()), 1))

    def size_row(self) -> dict:
        """Number of sizes, the most frequent size, and least, median and largest side lengths."""
        if not self.sizes:
            return {}
        (common, count), *_ = self.sizes.most_common(1)
        row = dict(different=len(self.sizes), most_frequent=list(common), of=count)
        for name, axis in (('width', 0), ('height', 1)):
            lengths = sorted((size[axis], n) for size, n in self.sizes.items())
            row[name] = [lengths[0][0], _median(lengths), lengths[-1][0]]
        return row

    def as_dict(self) -> dict:
        """Plain types, for JSON."""
        return dict(
            name=self.source.name,
            role=self.source.role,
            protocol=self.source.note or None,
            images=self.source.size,
            sizes=self.size_row(),
            masks=self.masks,
            void=self.void if self.masks else None,
            classes=self.class_rows() if self.masks else None,
        )


def _median(counts: Sequence[tuple[int, int]]) -> int:
    """Lower median of values, from sorted pairs (value, count)."""
    half, seen = math.ceil(sum(n for _, n in counts) / 2), 0
    for value, n in counts:
        seen += n
        if seen >= half:
            return value
    raise ValueError('no values')


@dataclass
class Report:
    """Result of an inspection.

    Args:
        surveys: Statistics of each source.
        findings: Errors first, in the order of :data:`KINDS`.
    """

    surveys: list[Survey]
    findings: list[Finding]

    def count(self, level: str) -> int:
        """Number of findings of this level."""
        return sum(finding.level == level for finding in self.findings)

    def as_dict(self) -> dict:
        """Plain types, for JSON."""
        return dict(
            errors=self.count(ERROR),
            warnings=self.count(WARNING),
            sources=[survey.as_dict() for survey in self.surveys],
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
