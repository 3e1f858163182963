"""From a number to a bad input: areas, kinds of mistakes, and the draws within a kind."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SEED = 18
IN_TESTS = 40
"""How many inputs the test suite runs."""


@dataclass
class Case:
    """An input that is being made: a project that works, until a mistake is made in it.

    Attributes:
        folder: The working folder of the command.
        rng: All draws of the mistake.
        turn: Which of the inputs of its kind it is, so that a kind may go through its variants.
        config: What ``config.py`` will hold, as plain values; None writes none.
        data: What ``data.yaml`` will hold; None writes none.
        content: What ``coco.json`` will hold; None writes none.
        texts: Further files by name, written as they are; they replace what is there.
        command: Arguments of ``mmseg-semi``.
        says: What the sentence has to say: texts, or compiled patterns.
    """

    folder: Path
    rng: np.random.Generator
    turn: int = 0
    config: dict | None = None
    data: dict | None = None
    content: Any = None
    texts: dict[str, str | bytes] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    says: tuple[str | re.Pattern, ...] = ()

    def pick(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """A whole number of low to high - 1."""
        return int(self.rng.integers(low, high))

    def misspell(self, word: str) -> str:
        """The word with one slip of the fingers: a letter left out, doubled, or two that changed places."""
        place = self.number(1, len(word) - 1)
        slips = [word[:place] + word[place + 1 :], word[:place] + word[place] + word[place:]]
        if word[place] != word[place + 1]:
            slips.append(word[:place] + word[place + 1] + word[place] + word[place + 2 :])
        return self.pick(*slips)

    def file(self, *names: str) -> Path:
        """A file or folder below the working folder."""
        return self.folder.joinpath(*names)

    def part(self, path: str) -> Any:
        """A part of the config by its dotted path."""
        node = self.config
        for key in path.split('.') if path else []:
            node = node[int(key)] if isinstance(node, list | tuple) else node[key]
        return node

    def set(self, path: str, value: Any) -> None:
        """Replace a part of the config."""
        above, _, key = path.rpartition('.')
        node = self.part(above)
        node[int(key) if isinstance(node, list) else key] = value

    def remove(self, path: str) -> None:
        """Take a key out of the config."""
        above, _, key = path.rpartition('.')
        node = self.part(above)
        del node[int(key) if isinstance(node, list) else key]


@dataclass(frozen=True)
class Kind:
    """A kind of mistake.

    Attributes:
        area: Where it is made, such as 'data file'.
        name: In words.
        ground: Makes the project that works.
        make: Makes the mistake; returns what the sentence has to say.
        times: How many inputs are of this kind.
    """

    area: str
    name: str
    ground: Callable[[Case], None]
    make: Callable[[Case], Sequence[str | re.Pattern]]
    times: int


KINDS: list[Kind] = []


def kind(area: str, ground: Callable[[Case], None], times: int = 1) -> Callable:
    """Register a function that makes a mistake. It returns what the sentence has to say: at least the file or key, and what was found."""

    def register(make: Callable) -> Callable:
        KINDS.append(Kind(area, make.__name__.replace('_', ' '), ground, make, times))
        return make

    return register


def slots() -> list[Kind]:
    """The kind of each number."""
    from . import kinds  # noqa: F401  (registers)

    return [kind for kind in KINDS for _ in range(kind.times)]


def chosen() -> list[int]:
    """The numbers that the test suite runs, spread evenly."""
    count = len(slots())
    return [place * count // IN_TESTS for place in range(IN_TESTS)]


def make_case(number: int, folder: Path) -> Case:
    """Make the input of a number.

    Args:
        number: 0 to the number of inputs - 1.
        folder: An empty folder.
    """
    every = slots()
    kind = every[number]
    case = Case(folder, np.random.default_rng([SEED, number]), number - every.index(kind))
    kind.ground(case)
    case.says = tuple(kind.make(case))
    from .ground import write

    write(case)
    return case
