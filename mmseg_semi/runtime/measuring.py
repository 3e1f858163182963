"""Time, arithmetic and memory of the parts of a training step.

The segmentor marks the parts of a step with :func:`mmseg_semi.step.parts.part`. They are ranges in any
trace of torch's profiler, and what ``tools/benchmark.py`` reports by name.
"""

import gc
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmseg_semi.step.parts import PREFIX, observed_by, part

T = TypeVar('T')
MIB = 2**20


class Meter:
    """Sums a growing reading, such as the time, by part; what lies in no part is charged to ``rest``.

    A part inside a part is charged to the inner one alone, so the sums always add up to the whole. One meter runs at a
    time.

    Args:
        read: The reading, a number that never falls.
        rest: Name of everything outside of parts.

    Example:
        >>> with Meter(time.perf_counter) as meter:
        ...     with part('sleep'):
        ...         time.sleep(0.01)
        >>> sorted(meter.sums)
        ['other', 'sleep']
    """

    def __init__(self, read: Callable[[], float], rest: str = 'other') -> None:
        self.read = read
        self.sums: dict[str, float] = {}
        self._names = [rest]
        self._last = 0.0

    @property
    def total(self) -> float:
        """The reading's rise from the first to the last line of the ``with`` block."""
        return sum(self.sums.values())

    def _charge(self) -> None:
        now = self.read()
        name = self._names[-1]
        self.sums[name] = self.sums.get(name, 0.0) + now - self._last
        self._last = now

    @contextmanager
    def span(self, name: str, inner: AbstractContextManager) -> Iterator[None]:
        """Charge the block to ``name``; see :func:`part`."""
        self._charge()
        self._names.append(name)
        try:
            with inner:
                yield
        finally:
            self._charge()
            self._names.pop()

    def __enter__(self) -> 'Meter':
        self._observing = observed_by(self)
        self._observing.__enter__()
        self._last = self.read()
        return self

    def __exit__(self, *error: object) -> None:
        self._charge()
        self._observing.__exit__(None, None, None)


def clock(device: torch.device, cpu_time: bool = False) -> Callable[[], float]:
    """A clock in seconds.

    Args:
        device: On a GPU each reading first waits until the device has finished what it was given.
        cpu_time: Time that this process spent computing, over all its threads, instead of time that passed: what other
            processes take of the machine is left out, and so is waiting for data. For a CPU.
    """
    if device.type != 'cuda':
        return time.process_time if cpu_time else time.perf_counter

    def read() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


class _FlopMode(TorchDispatchMode):
    """Counts as torch's FlopCounterMode does, without its module hooks, which no ``autograd.grad`` survives."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


def in_order(runs: Iterable[dict]) -> list[str]:
    """Names of all parts in the order in which a step reaches them, then 'other'."""
    names = dict.fromkeys(name for run in runs for name in run)
    names.pop('other', None)
    return [*names, 'other']


def count_flops(step: Callable[[], object]) -> dict[str, int]:
    """Floating-point operations of one step by part.

    Counted are matrix products and convolutions, forward and backward, a multiply-add as two; not counted is what is done
    once an element (norms, activations, resizing, softmax, the optimiser).
    """
    with _FlopMode() as mode, Meter(lambda: mode.total) as meter:
        step()
    return {name: int(value) for name, value in meter.sums.items()}


# -- pairs -------------------------------------------------------------------------------------


def interleave(steps: Sequence[Callable[[], T]], rounds: int, warmup: int = 0) -> list[list[T]]:
    """Run all steps in turn, ``rounds`` times, so that a machine that is slow for a while is slow for all of them.

    Every other round runs in the opposite order, lest one step always follow the same other one.

    Returns:
        What each step returned, round by round, in the order of ``steps``; without the warm-up rounds.
    """
    results: list[list[T]] = [[] for _ in steps]
    for index in range(warmup + rounds):
        order = range(len(steps)) if index % 2 == 0 else reversed(range(len(steps)))
        for which in order:
            value = steps[which]()
            if index >= warmup:
                results[which].append(value)
    return results


@dataclass(frozen=True)
class Ratio:
    """How much longer A takes than B, from interleaved pairs."""

    median: float
    """Of the pairs' ratios."""
    low: float
    """Lower quartile of the pairs' ratios."""
    high: float
    """Upper quartile of the pairs' ratios."""
    of_medians: float
    """Median of A over median of B."""
    pairs: int

    @classmethod
    def of(cls, a: Sequence[float], b: Sequence[float]) -> 'Ratio':
        """From as many times of A as of B, pair by pair."""
        ratios = [x / y for x, y in zip(a, b, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return cls(
            statistics.median(ratios),
            low,
            high,
            statistics.median(a) / statistics.median(b),
            len(ratios),
        )

    def __str__(self) -> str:
        return (
            f'{self.median:.3f} (median of {self.pairs} pairs, quartiles {self.low:.3f} and {self.high:.3f}; '
            f'ratio of medians {self.of_medians:.3f})'
        )


def timed(step: Callable[[], object], device: torch.device, cpu_time: bool = False) -> float:
    """Seconds of one call; see :func:`clock` for the arguments."""
    read = clock(device, cpu_time)
    start = read()
    step()
    return read() - start


def measure_calls(
    calls: dict[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
    warmup: int = 0,
    cpu_time: bool = False,
) -> dict[str, Any]:
    """Time one or two calls, interleaved.

    Args:
        calls: Name -> call.
        device: The device that the calls compute on.
        rounds: Measured runs of each call.
        warmup: Runs of each call before them.
        cpu_time: See :func:`clock`.

    Returns:
        ``seconds`` (name -> median), ``runs`` (name -> all times) and, for two calls, ``ratio`` and
        ``ratio_text``, the first over the second.

    Example:
        >>> calls = {'a': lambda: sum(range(1000)), 'b': lambda: sum(range(1000))}
        >>> measured = measure_calls(calls, torch.device('cpu'), rounds=3)
        >>> list(measured['seconds']), measured['ratio']['pairs']
        (['a', 'b'], 3)
    """
    steps = [partial(timed, call, device, cpu_time) for call in calls.values()]
    runs = dict(zip(calls, interleave(steps, rounds, warmup), strict=True))
    result: dict[str, Any] = {
        'seconds': {name: statistics.median(own) for name, own in runs.items()},
        'runs': runs,
    }
    if len(runs) == 2:
        ratio = Ratio.of(*runs.values())
        result['ratio'], result['ratio_text'] = asdict(ratio), str(ratio)
    return result


# -- memory ------------------------------------------------------------------------------------


@dataclass
class Memory:
    """What one call allocated, in bytes, above what was there before it."""

    rise: int
    """The most that was allocated at one time."""
    kept: int
    """What was still allocated at the end; 0 unless the call left something behind."""
    largest: int | None
    """The largest single allocation; None on a GPU."""
    parts: dict[str, int] = field(default_factory=dict)
    """The rise while inside each part; empty on a GPU."""


def trace_memory(step: Callable[[], object], device: torch.device) -> Memory:
    """Run a step twice and report the allocations of the second run.

    The first one brings what steps hand on to each other into the account. On the CPU, every request to PyTorch's
    allocator is counted (``torch.profiler``): tensors, and temporaries inside operations, but not the scratch memory
    of the oneDNN library or anything of Python's. On a GPU it is ``torch.cuda.max_memory_allocated``.
    """
    if device.type == 'cuda':
        step()
        torch.cuda.synchronize(device)
        gc.collect()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        peak, after = (
            torch.cuda.max_memory_allocated(device),
            torch.cuda.memory_allocated(device),
        )
        return Memory(peak - before, after - before, None)

    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
        with part('measured'):
            step()
    sizes: list[tuple[int, int]] = []
    ranges: list[tuple[str, int, int]] = []
    for event in profiler.profiler.kineto_results.events():
        name, start = event.name(), event.start_ns()
        if name == '[memory]':
            sizes.append((start, event.nbytes()))
        elif name.startswith(PREFIX):
            ranges.append((name.removeprefix(PREFIX), start, start + event.duration_ns()))
    (_, begin, end) = next(span for span in ranges if span[0] == 'measured')
    ranges = [span for span in ranges if span[1] > begin and span[2] <= end]

    inside = sorted(pair for pair in sizes if begin <= pair[0] <= end)
    times = [at for at, _ in inside]
    levels = [0, *accumulate(size for _, size in inside)]  # the last one up to each time, from 0
    parts: dict[str, int] = {}
    for name, first, last in ranges:
        within = levels[bisect_left(times, first) : bisect_right(times, last) + 1]
        parts[name] = max(parts.get(name, 0), *within, 0)
    return Memory(max(levels), levels[-1], max((size for _, size in inside), default=0), parts)


def stored_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages behind tensors: shared ones count once, a view counts as its whole base."""
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
