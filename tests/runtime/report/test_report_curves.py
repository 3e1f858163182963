"""Charts: where the points are, which ticks there are, and that names are text."""

import math
import re
import xml.etree.ElementTree as tree

import numpy as np
import pytest

from mmseg_semi.runtime.report.curves import (
    HEIGHT,
    WIDTH,
    Series,
    chart,
    iteration_ticks,
    nice_ticks,
    number,
    sparkline,
    thinned,
)


def svg_of(markup: str) -> tree.Element:
    return tree.fromstring(re.search(r'<svg.*?</svg>', markup, re.DOTALL)[0])


def places(markup: str, kind: str = 'line') -> list[np.ndarray]:
    """Points of each line."""
    paths = [p.get('d') for p in svg_of(markup).iter('path') if kind in p.get('class')]
    return [np.array([p.split() for p in path[1:].split('L')], float) for path in paths]


def test_points_lie_where_the_axes_say():
    markup = chart('t', [Series('a', [(0, 0.0), (50, 5.0), (100, 10.0)])])
    (line,) = places(markup)
    labels = {
        t.text: (float(t.get('x')), float(t.get('y')), t.get('text-anchor'))
        for t in svg_of(markup).iter('text')
    }
    # ticks are 4 units above the foot of their text
    assert line[0, 1] == labels['0'][1] - 4 or labels['0'][2] != 'end'
    assert line[2, 1] == labels['10'][1] - 4
    assert line[1] == pytest.approx((line[0] + line[2]) / 2, abs=0.1)
    assert line[2, 0] == labels['100'][0]
    assert (line >= 0).all() and (line <= [WIDTH, HEIGHT]).all()


def test_values_that_are_not_finite_are_left_out():
    assert chart('t', [Series('a', [(1, math.nan)]), Series('b', [])]) == ''
    markup = chart('t', [Series('a', [(1, math.inf), (2, 1.0), (3, 2.0)])])
    assert len(places(markup)[0]) == 2


def test_one_value_is_a_dot():
    dots = [
        c
        for c in svg_of(chart('t', [Series('a', [(7, 3.0)])])).iter('circle')
        if 'dot' in c.get('class')
    ]
    assert len(dots) == 1


def test_hovering_shows_the_values():
    markup = chart('t', [Series('a', [(i, i / 2) for i in range(1000)])])
    titles = [t.text for t in svg_of(markup).iter('title')]
    assert 20 <= len(titles) <= 40 and len(markup) < 20000
    assert titles[0].startswith('a, iteration 999: ')


def test_names_are_text():
    markup = chart('<b>t', [Series('<script>', [(1, 1.0), (2, 2.0)]), Series('"b', [(1, 1.0)])])
    assert '<script>' not in markup and '<b>' not in markup
    assert '&lt;script&gt;, iteration 2: 2' in markup


def test_many_points_become_means():
    points = [(i, float(i % 2)) for i in range(10_000)]
    few = thinned(points)
    assert len(few) == 200 and few[-1] == (9999, 0.5) and {value for _, value in few} == {0.5}
    assert thinned(points[:200]) == points[:200]


@pytest.mark.parametrize('low', [-3.7, 0.0, 1e-6, 0.99, 12.0, 1e7])
@pytest.mark.parametrize('span', [0.0, 1e-9, 0.003, 1.0, 47.0, 1e6])
def test_ticks_are_even_round_and_around_the_values(low, span):
    ticks = nice_ticks(low, low + span)
    steps = np.diff(ticks)
    rounding = 1e-12 * max(1, abs(low) + span)
    assert ticks[0] <= low + rounding and ticks[-1] >= low + span - rounding
    assert 2 <= len(ticks) <= 7
    assert steps == pytest.approx(np.full(len(steps), steps[0]), rel=1e-4)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
    assert any(mantissa == pytest.approx(m, rel=1e-4) for m in (1, 2, 2.5, 5))


def test_ticks_have_different_words():
    for low, high in ((0, 1), (37.6, 45.1), (0, 9e-4), (0.97, 0.99), (0, 40000)):
        ticks = nice_ticks(low, high)
        assert len({number(tick, ticks[-1] - ticks[0]) for tick in ticks}) == len(ticks)
    assert iteration_ticks(40000) == [0, 20000, 40000]
    assert iteration_ticks(1) == [0, 1] and iteration_ticks(0) == [0]
    assert all(len(iteration_ticks(last)) <= 6 for last in range(1, 2000, 37))


def test_sparklines():
    assert sparkline([0.5]) == ''
    (line,) = places(sparkline([0.0, 0.5, 0.25], width=84, height=18))
    assert line.tolist() == [[1, 16], [42, 2], [83, 9]]
    assert places(sparkline([0.0, 0.0]))[0].tolist() == [[1, 16], [83, 16]]
