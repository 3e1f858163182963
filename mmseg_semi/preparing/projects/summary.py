"""What ``mmseg-semi init`` did, in words for its table."""

from __future__ import annotations

from collections.abc import Iterator

from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.annotations.export import Export
from mmseg_semi.preparing.projects.classes import Classes
from mmseg_semi.preparing.projects.parts import Parts
from mmseg_semi.preparing.projects.settings import Settings
from mmseg_semi.preparing.projects.writing import PARTS, Written

SHOWN = 5
"""Missing images that are named."""


def rows(
    export: Export,
    classes: Classes,
    parts: Parts,
    written: Written,
    settings: Settings,
    bands: str | None = None,
) -> Iterator[tuple[str, str]]:
    """(what, value) of everything but the classes, in the order of the work; ``bands`` says what the images' bands are, if it is known."""
    version = f', {export.version}' if export.version else ''
    yield 'export', f'{export.format}{version}: {export.source}'
    counts = [
        f'{len(getattr(parts, part))} {word}'
        for part, word in zip(PARTS, ('train', 'validate', 'test'), strict=True)
        if getattr(parts, part)
    ]
    yield 'annotated images', f'{len(parts.annotated)}: {", ".join(counts)}'
    yield 'validation', parts.division
    yield 'unlabelled images', str(len(parts.unlabeled))
    for names, what in (
        (parts.missing, 'annotated images'),
        (parts.missing_unannotated, 'other images'),
    ):
        if names:
            shown = ', '.join(names[:SHOWN]) + (', …' if len(names) > SHOWN else '')
            yield 'missing files', f'{len(names)} {what}: {shown}; --images names their folder'
    for text, number in sorted((export.counts + parts.counts + written.counts).items()):
        yield 'noted', f'{text}: {number}'
    if bands is not None:
        yield 'bands', bands
    yield 'overlap', export.overlap
    yield 'unmarked pixels', classes.decision
    for what, value, why in settings.reasons:
        yield what, f'{value}: {why}'


def class_rows(classes: Classes, written: Written) -> Iterator[tuple[str, ...]]:
    """Name, colour and, for each part, share of pixels and number of images; the ignored pixels last."""
    entries = [
        *enumerate(zip(classes.names, classes.colours, strict=True)),
        (IGNORE, ('ignored', '')),
    ]
    for index, (name, colour) in entries:
        cells = []
        for part in PARTS:
            if part not in written.pixels:
                continue
            pixels, whole = int(written.pixels[part][index]), int(written.pixels[part].sum())
            cells.append(f'{pixels / whole:.2%} ({int(written.images_with[part][index])})')
        yield (name, colour, *cells)


def warnings(classes: Classes, parts: Parts, written: Written) -> Iterator[str]:
    """What a person should look at before training."""
    train = written.images_with['train']
    for index, name in enumerate(classes.names):
        if not train[index]:
            yield f"the class '{name}' is in no training mask: it cannot be learned; annotate it, or leave it out by --classes"
        elif not written.images_with['val'][index]:
            yield f"the class '{name}' is in no validation mask: its IoU cannot be told"
    if parts.missing:
        yield f'{len(parts.missing)} annotated images are not there and are left out'
    if len(parts.val) < 3:
        yield f'{len(parts.val)} images validate: scores will vary much from run to run'
