"""Time, arithmetic and memory of the parts of a training step.

The segmentor marks the parts of a step with :func:`mmseg_semi.step.parts.part`. They are profiling
ranges in a trace of torch's profiler, and ``tools/benchmark.py`` reports them.
"""

import gc
import statistics
import time
from bisect import bisect_left, bisect_right
from collections import Counter
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
    """Sums the increase of a counter, such as the time, by part of the step.

    Time in nested parts counts for the innermost part only, so the sums add up to the total. Only
    one meter can run at a time.

    Args:
        read: Returns the counter, a number that never decreases.
        rest: Name for everything outside of parts.

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
        """The counter's increase over the ``with`` block."""
        return sum(self.sums.values())

    def _charge(self) -> None:
        now = self.read()
        name = self._names[-1]
        self.sums[name] = self.sums.get(name, 0.0) + now - self._last
        self._last = now

    @contextmanager
    def span(self, name: str, inner: AbstractContextManager) -> Iterator[None]:
        """Count the block for ``name``; see :func:`part`."""
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
        device: The device that computes. On a GPU each reading first waits for the device.
        cpu_time: On a CPU, measure the CPU time of this process over all its threads instead of the
            elapsed time. It contains neither the load by other processes nor waiting for data.

    Returns:
        A function that returns the time.
    """
    if device.type != 'cuda':
        return time.process_time if cpu_time else time.perf_counter

    def read() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


class _FlopMode(TorchDispatchMode):
    """torch's FlopCounterMode without its module hooks, which break with ``autograd.grad``."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        formula = flop_registry.get(packet)
        if packet is torch.ops.aten.convolution_backward:
            self.total += _convolution_backward_flops(*args)
        elif formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


def _convolution_backward_flops(grad: Tensor, x: Tensor, weight: Tensor, *rest) -> int:
    """Operations of a convolution's backward pass: the forward pass's for each of the gradients of input and weight.

    torch's own formula counts the gradient of the weight as if there were no groups
    (findings/flop_counter_grouped_backward.sh).
    """
    transposed, output_mask = rest[4], rest[7]
    positions = (x if transposed else grad).shape[2:].numel()
    forward = 2 * len(x) * positions * weight.numel()
    return forward * (output_mask[0] + output_mask[1])


def in_order(runs: Iterable[dict]) -> list[str]:
    """Names of all parts in the order in which a step reaches them, then 'other'."""
    names = dict.fromkeys(name for run in runs for name in run)
    names.pop('other', None)
    return [*names, 'other']


def count_flops(step: Callable[[], object]) -> dict[str, int]:
    """Count the floating-point operations of one step by part.

    Matrix products and convolutions count, forward and backward, with two operations for a
    multiply-add. Elementwise operations do not count (norms, activations, resizing, softmax, the
    optimiser).

    Example:
        >>> a, b = torch.rand(2, 3), torch.rand(3, 5)
        >>> count_flops(lambda: a @ b)
        {'other': 60}
    """
    with _FlopMode() as mode, Meter(lambda: mode.total) as meter:
        step()
    return {name: int(value) for name, value in meter.sums.items()}


# -- copies ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copy:
    """One copy of a tensor's elements in a step.

    Attributes:
        path: Names of the operations and profiling ranges around it, outermost first.
        shape: Shape of the target.
        kind: 'format' between contiguous and channels-last (N, C, H, W) memory, 'type' between data types, else 'plain'. A tensor of
            one channel or one pixel has both formats, so its copies are plain.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str


def list_copies(step: Callable[[], object]) -> list[Copy]:
    """All copies of one step on the CPU, those inside torch's operations too.

    Example:
        >>> maps = torch.zeros(2, 5, 6, 7)
        >>> [(copy.kind, copy.shape) for copy in list_copies(lambda: maps.clone().double())]
        [('plain', (2, 5, 6, 7)), ('type', (2, 5, 6, 7))]
    """
    # torch's records of an operation's inputs hold their strides, but only its verbose events keep them
    verbose = torch._C._profiler._ExperimentalConfig(verbose=True)
    with profile(
        activities=[ProfilerActivity.CPU], record_shapes=True, experimental_config=verbose
    ) as profiler:
        step()
    copies: list[Copy] = []
    events = [(event, ()) for event in profiler.profiler.kineto_results.experimental_event_tree()]
    events.reverse()
    while events:
        event, path = events.pop()
        if event.name == 'aten::copy_':
            pair = [x for x in event.extra_fields.inputs if hasattr(x, 'strides')][:2]
            kind = 'plain'
            if {_format(x.sizes, x.strides) for x in pair} == {'contiguous', 'channels last'}:
                kind = 'format'
            elif len({x.dtype for x in pair}) > 1:
                kind = 'type'
            copies.append(Copy(path, tuple(pair[0].sizes), kind))
        events += [(child, (*path, event.name)) for child in reversed(event.children)]
    return copies


def list_format_copies(step: Callable[[], object]) -> Counter[tuple[str, tuple[int, ...]]]:
    """Copies of (N, C, H, W) tensors between contiguous and channels-last memory in one step.

    Returns:
        How often each copy was made, by the operations around it, outermost first, and the shape.

    Example:
        >>> maps = torch.zeros(2, 5, 6, 7)
        >>> list_format_copies(lambda: maps.to(memory_format=torch.channels_last)).total()
        1
    """
    return Counter(
        (' > '.join(copy.path), copy.shape) for copy in list_copies(step) if copy.kind == 'format'
    )


def _format(sizes: Sequence[int], strides: Sequence[int]) -> str:
    """'contiguous', 'channels last', or 'other' for tensors that are neither, or both."""

    def dense(order: Sequence[int]) -> bool:
        step = 1
        for dim in order:
            if sizes[dim] != 1 and strides[dim] != step:
                return False
            step *= sizes[dim]
        return True

    if len(sizes) != 4:
        return 'other'
    contiguous, channels_last = dense((3, 2, 1, 0)), dense((1, 3, 2, 0))
    if contiguous == channels_last:
        return 'other'
    return 'contiguous' if contiguous else 'channels last'


# -- pairs -------------------------------------------------------------------------------------


def interleave(steps: Sequence[Callable[[], T]], rounds: int, warmup: int = 0) -> list[list[T]]:
    """Run all steps in turn, ``rounds`` times: a slow phase of the machine affects all of them.

    Every other round runs in the opposite order, so that no step always follows the same other one.

    Args:
        steps: The steps.
        rounds: Number of rounds whose results are returned.
        warmup: Number of rounds before them.

    Returns:
        For each step the results of its rounds.

    Example:
        >>> interleave([lambda: 'a', lambda: 'b'], rounds=2)
        [['a', 'a'], ['b', 'b']]
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
    """The time of A over the time of B, from interleaved pairs."""

    median: float
    """Median of the pairs' ratios."""
    low: float
    """Lower quartile of the pairs' ratios."""
    high: float
    """Upper quartile of the pairs' ratios."""
    of_medians: float
    """Median of A over median of B."""
    pairs: int

    @classmethod
    def of(cls, a: Sequence[float], b: Sequence[float]) -> 'Ratio':
        """Compute the ratio from times of A and B, pair by pair."""
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
            f'{self.median:.3f} (median of {self.pairs} pairs, quartiles {self.low:.3f} and '
            f'{self.high:.3f}; ratio of medians {self.of_medians:.3f})'
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
    """Bytes that one call allocated above the level before it."""

    rise: int
    """The peak."""
    kept: int
    """The bytes that are still allocated at the end; 0 for a call without lasting results."""
    largest: int | None
    """The largest single allocation; None on a GPU."""
    parts: dict[str, int] = field(default_factory=dict)
    """The peak inside each part; empty on a GPU."""


def trace_memory(step: Callable[[], object], device: torch.device) -> Memory:
    """Run a step twice and return the allocations of the second run.

    The first run allocates what one step keeps for the next. On the CPU, every request to PyTorch's
    allocator counts (``torch.profiler``): tensors, and temporaries inside operations, but neither
    the scratch memory of the oneDNN library nor Python's own. On a GPU the peak is
    ``torch.cuda.max_memory_allocated``.
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
    """Bytes of the storages of tensors: a shared storage counts once, a view as its base.

    Example:
        >>> a = torch.zeros(10)
        >>> stored_bytes([a, a[:2]])
        40
    """
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
