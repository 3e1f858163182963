"""Weights over time: a number, or a dict of :class:`Steps`, :class:`Ramp` or :class:`Line`.

Time is the training iteration, counted from 0, in units of ``model.iters_per_epoch`` (default 1). A schedule is a plain
callable ``t -> float`` without state, so there is nothing to save and nothing to resume.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from mmseg_semi.errors import SetupError

Schedule = Callable[[float], float]

_RAMPS: dict[str, Callable[[float], float]] = {
    'sigmoid': lambda x: math.exp(-5 * (1 - x) ** 2),
    'linear': lambda x: x,
    'cosine': lambda x: 0.5 * (1 - math.cos(math.pi * x)),
    'log': lambda x: 1 - math.exp(-5 * x),
    'exp': lambda x: math.exp(5 * (x - 1)),
}


def _is_weight(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


class Steps:
    """Piecewise constant: ``values[i]`` from ``milestones[i - 1]`` (inclusive) to ``milestones[i]`` (exclusive).

    Args:
        values: One value a phase, finite and >= 0.
        milestones: Start of the second and every later phase, strictly increasing, one fewer than ``values``.

    Raises:
        SetupError: The two lists do not fit together, or a value is negative or not finite.

    Example:
        >>> steps = Steps(values=[0, 1, 0.5], milestones=[1, 2])
        >>> [steps(t) for t in (0, 1, 1.5, 2)]
        [0.0, 1.0, 1.0, 0.5]
    """

    def __init__(self, values: Sequence[float], milestones: Sequence[float]) -> None:
        if len(values) != len(milestones) + 1 or list(milestones) != sorted(set(milestones)):
            raise SetupError(
                f'schedule Steps: values={list(values)} with milestones={list(milestones)} do not fit; give strictly '
                'increasing milestones, one fewer than the values'
            )
        if not all(map(_is_weight, values)):
            raise SetupError(f'schedule Steps: values={list(values)}; expected finite numbers >= 0')
        self.values = [float(value) for value in values]
        self.milestones = list(milestones)

    def __call__(self, t: float) -> float:
        return self.values[bisect_right(self.milestones, t)]


class Ramp:
    """``value`` times a ramp from about 0 to about 1 over ``length`` units of time, constant afterwards; 0 before ``start``.

    The ramps with x = t / length in [0, 1] are those of consistency training (CCT, arXiv 2003.09005, and Laine & Aila,
    arXiv 1610.02242): sigmoid exp(-5 (1-x)^2), linear x, cosine (1 - cos(pi x)) / 2, log 1 - exp(-5x), exp exp(5 (x-1)).
    ``length=0`` means ``value`` at once.

    Raises:
        SetupError: Unknown ``kind``, negative ``length`` or ``start``, or a value that is negative or not finite.

    Example:
        >>> ramp = Ramp(value=30, length=10, kind='linear')
        >>> [ramp(t) for t in (0, 5, 10, 20)]
        [0.0, 15.0, 30.0, 30.0]
    """

    def __init__(
        self, value: float, length: float, kind: str = 'sigmoid', start: float = 0
    ) -> None:
        if kind not in _RAMPS or length < 0:
            raise SetupError(
                f"schedule Ramp: kind='{kind}', length={length}; expected a kind of {sorted(_RAMPS)} and a length >= 0"
            )
        if not (_is_weight(value) and _is_weight(length) and _is_weight(start)):
            raise SetupError(
                f'schedule Ramp: value={value!r}, length={length!r}, start={start!r}; expected finite numbers >= 0'
            )
        self.value, self.length, self.kind = float(value), float(length), kind
        self.start = float(start)

    def __call__(self, t: float) -> float:
        if t < self.start:
            return 0.0
        if self.length == 0:
            return self.value
        x = (t - self.start) / self.length
        return self.value * _RAMPS[self.kind](min(max(x, 0.0), 1.0))


class Line:
    """From one value to another on a straight line; constant before and after it.

    Args:
        values: First and last value, finite and >= 0.
        times: When the line begins and when it ends, the later one larger.
        whole: Change the value at whole units of time only, as code does that counts in epochs.

    Raises:
        SetupError: No two values or times, a value that is negative or not finite, or times that do not rise.

    Example:
        >>> line = Line(values=(80, 10), times=(0, 7))
        >>> [line(t) for t in (0, 3.5, 7, 9)]
        [80.0, 45.0, 10.0, 10.0]
    """

    def __init__(
        self, values: Sequence[float], times: Sequence[float], whole: bool = False
    ) -> None:
        fits = len(values) == len(times) == 2 and all(map(_is_weight, [*values, *times]))
        if not fits or times[0] >= times[1]:
            raise SetupError(
                f'schedule Line: values={values}, times={times}; expected two finite numbers >= 0 each, and times that rise'
            )
        self.values = [float(value) for value in values]
        self.times = [float(time) for time in times]
        self.whole = whole

    def __call__(self, t: float) -> float:
        begin, end = self.times
        share = ((math.floor(t) if self.whole else t) - begin) / (end - begin)
        first, last = self.values
        return first + (last - first) * min(max(share, 0.0), 1.0)


_TYPES = {'Steps': Steps, 'Ramp': Ramp, 'Line': Line}


def build_schedule(spec: float | dict, key: str = 'weight') -> Schedule:
    """Turns a config value into a schedule.

    Args:
        spec: A finite number >= 0, or ``dict(type='Steps' | 'Ramp' | 'Line', ...)``.
        key: The config key, named in the error.

    Raises:
        SetupError: Anything else.

    Example:
        >>> build_schedule(0.5)(t=3), build_schedule(dict(type='Ramp', value=1, length=4, kind='linear'))(t=3)
        (0.5, 0.75)
    """
    if _is_weight(spec):
        return Steps([spec], [])
    if isinstance(spec, dict) and spec.get('type') in _TYPES:
        arguments = {name: value for name, value in spec.items() if name != 'type'}
        try:
            return _TYPES[spec['type']](**arguments)
        except SetupError as error:
            raise SetupError(f'{key}: {error}') from error
        except TypeError as error:
            raise SetupError(f'{key}: schedule {dict(spec)} cannot be built ({error})') from error
    raise SetupError(
        f'{key}: found {spec!r}; expected a number >= 0 or a dict with type in {sorted(_TYPES)}, for instance '
        "dict(type='Steps', values=[0, 0.5], milestones=[1000])"
    )
