"""Named parts of a training step, for profilers and ``tools/benchmark.py``."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from torch.profiler import record_function

PREFIX = 'semi/'


class Observer(Protocol):
    """An object that measures the parts of a step, see :func:`observed_by`."""

    def span(self, name: str, inner: AbstractContextManager) -> AbstractContextManager:
        """The context of a part: enters ``inner``, which is its profiling range."""


_observer: Observer | None = None


def part(name: str) -> AbstractContextManager:
    """Marks a part of the step: a profiling range ``semi/<name>``, which the running observer, if there is one, measures.

    Example:
        >>> with part('teacher'):
        ...     pass
    """
    span = record_function(PREFIX + name)
    return span if _observer is None else _observer.span(name, span)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Lets ``observer`` measure the parts inside the block.

    Raises:
        RuntimeError: Another observer is running.
    """
    global _observer
    if _observer is not None:
        raise RuntimeError('a Meter is running already; one step is measured at a time')
    _observer = observer
    try:
        yield
    finally:
        _observer = None
