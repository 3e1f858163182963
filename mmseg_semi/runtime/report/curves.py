"""Curves as inline SVG. The text is the page's own, so that it follows its font and its colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mmseg_semi.runtime.report.collect import Points

WIDTH, HEIGHT = 340, 190
"""Size of a chart in its own units: about the width of a phone, so that its text is readable there."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 8, 24
_MOST_POINTS = 200
_MOST_TITLES = 40
COLOURS = 6
"""Colours of series, which repeat after them."""

STYLE = """
:root { --c0: #1f6fb4; --c1: #d1620d; --c2: #2b8a4b; --c3: #8e4fb0; --c4: #b0303a; --c5: #6b6f76; }
@media (prefers-color-scheme: dark) {
  :root { --c0: #62a8e5; --c1: #f0934a; --c2: #62c088; --c3: #c392e0; --c4: #ec7a80; --c5: #a4a9b0; } }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 22px 26px; }
.chart h3 { font-size: .95em; margin: 0 0 2px; }
.chart svg { width: 100%; height: auto; display: block; }
.chart text { fill: var(--soft); font-size: 11px; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.chart .dashed { stroke-dasharray: 5 4; }
.chart .hit { fill: transparent; } .chart .hit:hover { fill: var(--text); }
.key { display: inline-block; max-width: 100%; overflow-wrap: anywhere; margin-right: 14px; color: var(--soft); font-size: .85em; }
.key i { display: inline-block; width: 18px; border-top: 3px solid; margin-right: 6px; vertical-align: 3px; }
.key i.dashed { border-top-style: dashed; }
""" + ''.join(
    f'.s{i} {{ stroke: var(--c{i}); }} .key .k{i} {{ border-color: var(--c{i}); }} .dot.s{i} {{ fill: var(--c{i}); }}\n'
    for i in range(COLOURS)
)


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Args:
        name: Plain text.
        points: (iteration, value) in ascending order; values that are not finite are gaps.
        colour: Number of its colour.
        dashed: Whether its line is dashed.
    """

    name: str
    points: Points
    colour: int = 0
    dashed: bool = False


def chart(title: str, series: Sequence[Series], low: float | None = None) -> str:
    """A chart of series over the iterations, with a legend and the values as titles to be hovered.

    Args:
        title: Plain text.
        series: Those without a finite value are left out.
        low: Lower end of the values; None fits the values.

    Returns:
        Markup; empty if no series has a finite value.
    """
    kept = [(one, thinned(one.points)) for one in series]
    kept = [(one, points) for one, points in kept if points]
    if not kept:
        return ''
    values = [value for _, points in kept for _, value in points]
    last = max(points[-1][0] for _, points in kept)
    ticks = nice_ticks(min(values) if low is None else min(low, *values), max(values))
    span = ticks[-1] - ticks[0]

    def x(iteration: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * iteration / max(last, 1), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - ticks[0]) / span, 1)

    parts = []
    for tick in ticks:
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y(tick)}H{WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4}" text-anchor="end">{number(tick, span)}</text>'
        )
    for tick in iteration_ticks(last):
        anchor = 'end' if x(tick) > WIDTH - 40 else 'middle'
        parts.append(
            f'<text x="{x(tick)}" y="{HEIGHT - 7}" text-anchor="{anchor}">{tick:,}</text>'.replace(
                ',', '\u2009'
            )
        )
    for one, points in kept:
        parts.append(_line(one, points, x, y))
    keys = ''.join(_key(one) for one, _ in kept) if len(kept) > 1 else ''
    return (
        f'<figure class="chart"><h3>{escape(title)}</h3>{keys}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'{"".join(parts)}</svg></figure>'
    )


def _line(one: Series, points: Points, x, y) -> str:
    colour = f's{one.colour % COLOURS}'
    path = 'M' + 'L'.join(f'{x(i)} {y(v)}' for i, v in points)
    dashed = ' dashed' if one.dashed else ''
    parts = [f'<path class="line {colour}{dashed}" d="{path}"/>']
    if len(points) == 1:
        parts = [
            f'<circle class="dot {colour}" cx="{x(points[0][0])}" cy="{y(points[0][1])}" r="3"/>'
        ]
    step = max(1, math.ceil(len(points) / _MOST_TITLES))
    for iteration, value in points[::-1][::step]:
        words = f'{one.name}, iteration {iteration}: {value:.4g}'
        parts.append(
            f'<circle class="hit" cx="{x(iteration)}" cy="{y(value)}" r="4">'
            f'<title>{escape(words)}</title></circle>'
        )
    return ''.join(parts)


def _key(one: Series) -> str:
    dashed = ' dashed' if one.dashed else ''
    return f'<span class="key"><i class="k{one.colour % COLOURS}{dashed}"></i>{escape(one.name)}</span>'


def sparkline(values: Sequence[float], width: int = 84, height: int = 18) -> str:
    """A small line without axes, from 0 to its highest value; empty for fewer than two values."""
    if len(values) < 2:
        return ''
    top = max(*values, 1e-12)
    places = [
        f'{1 + (width - 2) * i / (len(values) - 1):.1f} {height - 2 - (height - 4) * v / top:.1f}'
        for i, v in enumerate(values)
    ]
    return (
        f'<svg class="spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-hidden="true"><path class="line s0" fill="none" d="M{"L".join(places)}"/></svg>'
    )


def thinned(points: Points) -> Points:
    """Finite values; of many, the means of neighbours, each at the last one's iteration.

    Example:
        >>> thinned([(1, 2.0), (2, float('nan')), (3, 4.0)])
        [(1, 2.0), (3, 4.0)]
    """
    finite = [(iteration, value) for iteration, value in points if math.isfinite(value)]
    size = math.ceil(len(finite) / _MOST_POINTS)
    if size <= 1:
        return finite
    parts = [finite[i : i + size] for i in range(0, len(finite), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers in equal steps from below ``low`` to above ``high``.

    Example:
        >>> nice_ticks(0.13, 0.87), nice_ticks(5, 5)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [4.0, 5.0, 6.0])
    """
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-300):
        margin = abs(low) / 5 or 1.0
        low, high, count = low - margin, high + margin, 2
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next((m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * (1 - 1e-9)), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, last + 1)]


def iteration_ticks(last: int) -> list[int]:
    """0, round iterations, and the last one.

    Example:
        >>> iteration_ticks(600)
        [0, 200, 400, 600]
    """
    if last < 2:
        return [0, last] if last else [0]
    inner = [round(tick) for tick in nice_ticks(0, last, 3)]
    return [tick for tick in inner if tick <= last * 0.88] + [last]


def number(value: float, span: float) -> str:
    """A tick with as many digits as its neighbours need.

    Example:
        >>> number(0.25, 1.0), number(40, 60), number(2.5e-05, 1e-4)
        ('0.25', '40', '2.5e-05')
    """
    if value and abs(value) < 1e-3:
        return f'{value:.2g}'
    digits = max(0, 1 - math.floor(math.log10(max(span, 1e-12)) - 1e-9))
    text = f'{value:.{min(digits, 6)}f}'
    return text.rstrip('0').rstrip('.') if '.' in text else text
