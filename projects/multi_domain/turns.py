"""Which domains take part in which iteration."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from mmseg_semi.errors import SetupError

SCHEDULES = ('joint', 'alternate')
_RESERVED = ('mean', 'shared', 'student', 'teacher')  # in names of metrics and tensors


class Turns:
    """The order of the domains' steps.

    It follows from the iteration alone, so resuming needs no state.

    Each domain counts its own steps, which its schedules and random draws follow. In its n-th step
    a domain does what it would do in iteration n of a separate run.

    Args:
        names: Names of the domains, in order.
        schedule: 'joint': every domain has a step in every iteration. 'alternate': one domain has a
            step in an iteration.
        turns: For 'alternate', number of consecutive steps of each domain; None: 1 each.
            ``dict(a=2, b=1)`` gives a a b a a b.

    Raises:
        SetupError: If the schedule is unknown, or the numbers of turns are not positive or not
            those of these domains.
    """

    def __init__(
        self, names: Iterable[str], schedule: str = 'joint', turns: Mapping[str, int] | None = None
    ) -> None:
        self.names = tuple(names)
        self.schedule = schedule
        if schedule not in SCHEDULES:
            raise SetupError(f"schedule='{schedule}': expected one of {SCHEDULES}")
        if turns is not None and schedule == 'joint':
            raise SetupError(
                "turns are those of schedule='alternate'; with 'joint' the batch sizes of the domains make their ratio"
            )
        turns = dict.fromkeys(self.names, 1) if turns is None else dict(turns)
        if set(turns) != set(self.names) or any(
            type(n) is not int or n < 1 for n in turns.values()
        ):
            raise SetupError(
                f'turns={turns}: expected an integer of 1 or more for each of {list(self.names)}'
            )
        self.turns = {name: turns[name] for name in self.names}
        self._cycle = [(name, i) for name in self.names for i in range(self.turns[name])]

    def at(self, iteration: int) -> list[tuple[str, int]]:
        """Domains of an iteration, in order, each with the number of its steps before it."""
        if self.schedule == 'joint':
            return [(name, iteration) for name in self.names]
        cycle, place = divmod(iteration, len(self._cycle))
        name, i = self._cycle[place]
        return [(name, cycle * self.turns[name] + i)]

    def steps(self, iteration: int) -> dict[str, int]:
        """Number of steps of each domain before an iteration."""
        if self.schedule == 'joint':
            return dict.fromkeys(self.names, iteration)
        cycle, place = divmod(iteration, len(self._cycle))
        extra = [name for name, _ in self._cycle[:place]]
        return {name: cycle * self.turns[name] + extra.count(name) for name in self.names}

    def per_step(self, name: str) -> float:
        """Number of the run's iterations per step of a domain."""
        return 1 if self.schedule == 'joint' else len(self._cycle) / self.turns[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Turns) and repr(self) == repr(other)

    def __repr__(self) -> str:
        order = '' if self.schedule == 'joint' else f', turns={self.turns}'
        return f"schedule='{self.schedule}'{order} of {list(self.names)}"


def check_names(names: Iterable[str], key: str) -> None:
    """Check that the names can be parts of the names of metrics and tensors.

    Raises:
        SetupError: If there is no domain, or a name is no identifier or has another meaning.
    """
    names = list(names)
    if not names:
        raise SetupError(f'{key} is empty; name at least one domain')
    for name in names:
        bad = not isinstance(name, str) or not name.isidentifier()
        # nn.ModuleDict refuses the names of its own attributes
        if bad or name in _RESERVED or hasattr(nn.ModuleDict, name):
            raise SetupError(
                f"{key}: '{name}' cannot name a domain; take letters, digits and underscores, and none of "
                f'{_RESERVED} or the methods of a module'
            )


@contextmanager
def in_domain(name: str) -> Iterator[None]:
    """Add the domain's name to every SetupError that is raised in the block."""
    try:
        yield
    except SetupError as error:
        raise type(error)(f"domain '{name}': {error}") from error
