"""The classes of a project: their order and colours, and what becomes of pixels without annotation."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmseg_semi.data.palette import voc_color
from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.preparing.annotations.drawing import check_class_count
from mmseg_semi.preparing.annotations.export import Export

BACKGROUND = 'background'
IGNORED = 'ignore'
"""The name in ``--classes`` of what training ignores."""

CHOICES = (BACKGROUND, IGNORED)
"""Values of ``--unlabelled-pixels``."""


@dataclass(frozen=True)
class Classes:
    """The classes of a project.

    Attributes:
        names: In the order of their indices in the masks.
        indices: Class of the export -> index in the masks; 255 for one that training ignores.
        unmarked: Index of pixels outside of all regions: 0 or 255.
        colours: '#rrggbb' of each class, all different.
        decision: One sentence: what unmarked pixels are, and why.
    """

    names: tuple[str, ...]
    indices: dict[str, int]
    unmarked: int
    colours: tuple[str, ...]
    decision: str


def choose_classes(
    export: Export, given: Sequence[str] | None = None, unmarked: str | None = None
) -> Classes:
    """Choose names, order and colours of the classes.

    Args:
        export: Its classes, colours and habit for unmarked pixels.
        given: The option ``--classes``: names in the order of their indices, each a class of the export, or NAME=A,B for one or several of
            them; ``ignore=A`` for classes whose pixels are ignored. None takes all classes of the export.
        unmarked: The option ``--unlabelled-pixels``; None takes the habit of the format.

    Raises:
        SetupError: If a class of the export is in no entry, an entry names no class of the export, there are too many classes, or only one
            and nothing else.

    Example:
        >>> from pathlib import Path
        >>> export = Export('COCO', Path('a.json'), ['leaf', 'stem'], [], '', ('background', 'objects are marked'))
        >>> choose_classes(export).names
        ('background', 'leaf', 'stem')
        >>> choose_classes(export, ['plant=leaf,stem'], 'background').indices
        {'leaf': 1, 'stem': 1}
    """
    choice = unmarked or export.unmarked[0]
    sources = list(export.mask_values) or list(export.classes)
    own = export.unmarked_class if export.mask_values else _background(sources)
    if unmarked == IGNORED and export.mask_values and own is None:
        raise SetupError(
            f'--unlabelled-pixels ignore: the masks of {export.source} say the class of every pixel, and none of {", ".join(sources)} is known '
            "as that of unmarked pixels; name it in --classes by 'ignore=CLASS'"
        )
    table = _given(export, given, sources) if given else {name: [name] for name in sources}
    if choice == IGNORED and export.mask_values and own and not given:
        table = {name: found for name, found in table.items() if name != own}
        table.setdefault(IGNORED, []).append(own)
    ignored = table.pop(IGNORED, [])
    names = list(table)
    if choice == BACKGROUND and not export.mask_values or own in names and choice == BACKGROUND:
        first = next(
            (name for name, found in table.items() if own in found),
            _background(names) or BACKGROUND,
        )
        names = [first, *(name for name in names if name != first)]
        table.setdefault(first, [])
    check_class_count(names, export.source)
    if len(names) < 2:
        raise SetupError(
            f'{export.source} gives the one class {", ".join(names) or "-"}, and unmarked pixels are ignored, so that there is nothing to tell '
            'apart; say --unlabelled-pixels background, or annotate a second class'
        )
    indices = {source: names.index(name) for name, found in table.items() for source in found}
    indices |= dict.fromkeys(ignored, IGNORE)
    return Classes(
        tuple(names),
        indices,
        0 if choice == BACKGROUND else IGNORE,
        _colours(export, names, table),
        _decision(export, choice, unmarked is not None, names[0]),
    )


def _background(names: Sequence[str]) -> str | None:
    """The class that is called background, if there is one."""
    return next((name for name in names if name.strip('_ ').lower() == BACKGROUND), None)


def _given(export: Export, given: Sequence[str], sources: Sequence[str]) -> dict[str, list[str]]:
    """Name of a class of the project -> classes of the export, by the option ``--classes``."""
    table: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for entry in given:
        name, equals, rest = entry.partition('=')
        found = [part for part in rest.split(',') if part] if equals else [name]
        if not name or name in table:
            raise SetupError(
                f"--classes has '{name}' twice or empty in '{entry}'; give each class once, as NAME or NAME=A,B"
            )
        for source in found:
            if source not in sources:
                if not equals and name == BACKGROUND:
                    continue  # the class of unmarked pixels
                near = difflib.get_close_matches(source, sources, n=1)
                hint = (
                    f"did you mean '{near[0]}'?"
                    if near
                    else f'its classes are {", ".join(sources)}'
                )
                raise SetupError(
                    f"--classes names '{source}', which {export.source} does not have; {hint}"
                )
            if source in owner:
                raise SetupError(
                    f"--classes has the class '{source}' in '{owner[source]}' and in '{name}'; keep it in one of them"
                )
            owner[source] = name
        table[name] = [source for source in found if source in sources]
    used: Counter = Counter(region.label for image in export.images for region in image.regions)
    lost = [name for name in sources if name not in owner and (used[name] or export.mask_values)]
    if lost:
        shown = ', '.join(
            f'{name} ({used[name]} regions)' if used[name] else name for name in lost[:8]
        )
        raise SetupError(
            f"--classes lacks classes of {export.source}: {shown}; add them, merge them as NAME=A,B, or write 'ignore={','.join(lost[:8])}'"
        )
    return table


def _colours(export: Export, names: Sequence[str], table: dict[str, list[str]]) -> tuple[str, ...]:
    """A colour for each class: the export's if it is free, else the next of VOC's colour map."""
    taken: dict[str, str] = {}
    for name in names:
        for source in table[name]:
            colour = export.colours.get(source, '').lower()
            if colour and colour not in taken.values():
                taken.setdefault(name, colour)
    series = ('#{:02x}{:02x}{:02x}'.format(*voc_color(index)) for index in range(256))
    free = (colour for colour in series if colour not in set(taken.values()))
    return tuple(taken[name] if name in taken else next(free) for name in names)


def _decision(export: Export, choice: str, asked: bool, first: str) -> str:
    """What unmarked pixels become, with the reason and the other way."""
    what = (
        'are ignored in training and evaluation'
        if choice == IGNORED
        else f"are the class '{first}'"
    )
    why = 'as --unlabelled-pixels says' if asked else f'for {export.unmarked[1]}'
    other = CHOICES[choice == BACKGROUND]
    return f'{what}, {why}' + ('' if asked else f'; --unlabelled-pixels {other} changes it')
