import math

import pytest

from mmseg_semi.errors import SetupError
from mmseg_semi.step.schedules import Line, Ramp, Steps, build_schedule

# value at x = t / length of 0, 1/4, 1/2, 3/4 and 1; worked out from the formulas by hand
RAMPS = {
    'sigmoid': (0.006738, 0.060055, 0.286505, 0.731616, 1),
    'linear': (0, 0.25, 0.5, 0.75, 1),
    'cosine': (0, 0.146447, 0.5, 0.853553, 1),
    'log': (0, 0.713495, 0.917915, 0.976482, 0.993262),
    'exp': (0.006738, 0.023518, 0.082085, 0.286505, 1),
}


@pytest.mark.parametrize('kind', RAMPS)
def test_ramp_values(kind):
    ramp = Ramp(3.0, 8, kind)
    for t, expected in zip((0, 2, 4, 6, 8), RAMPS[kind], strict=True):
        assert ramp(t) == pytest.approx(3 * expected, abs=2e-6)
    assert ramp(1000) == ramp(8)


@pytest.mark.parametrize('kind', RAMPS)
def test_ramp_of_length_zero_is_its_value_at_once(kind):
    assert Ramp(0.7, 0, kind)(0) == 0.7


def test_steps_change_at_their_milestones():
    steps = Steps([0, 1, 0.5], [1, 2])
    # times as the segmentor computes them, with 615 iterations an epoch
    found = [steps(i / 615) for i in (0, 614, 615, 1229, 1230, 100_000)]
    assert found == [0, 0, 1, 1, 0.5, 0.5]


def test_line_is_straight_between_its_times():
    line = Line((20, 0), (1, 80))
    assert [line(t) for t in (0, 1, 40.5, 80, 10**6)] == pytest.approx([20, 20, 10, 0, 0])
    rising = build_schedule(dict(type='Line', values=(0, 3), times=(2, 4)))
    assert [rising(t) for t in (2, 2.5, 3, 5)] == pytest.approx([0, 0.75, 1.5, 3])


def test_line_that_moves_at_whole_units_of_time():
    line = Line((20, 0), (1, 80), whole=True)
    for epoch in (0, 1, 2, 40, 79, 80, 81):
        expected = 20 * (1 - min(max(epoch - 1, 0), 79) / 79)
        for t in (epoch, epoch + 0.5, epoch + 614 / 615):
            assert line(t) == pytest.approx(expected)


@pytest.mark.parametrize(
    ('values', 'times'),
    [((1,), (0, 1)), ((1, 2), (1, 1)), ((1, 2), (2, 1)), ((-1, 2), (0, 1)), ((1, 2, 3), (0, 1, 2))],
)
def test_lines_that_cannot_be(values, times):
    with pytest.raises(SetupError, match='schedule Line'):
        Line(values, times)
    with pytest.raises(SetupError, match='dgcl.uncertain'):
        build_schedule(dict(type='Line', values=values, times=times), 'dgcl.uncertain')


def test_build_schedule():
    assert build_schedule(0.5)(10**6) == 0.5
    assert build_schedule(0)(3) == 0
    assert build_schedule(dict(type='Steps', values=[2, 3], milestones=[4]))(4) == 3
    assert build_schedule(dict(type='Ramp', value=2, length=4, kind='linear'))(1) == 0.5


@pytest.mark.parametrize(
    'spec',
    [
        -1,
        math.nan,
        math.inf,
        True,
        '1',
        None,
        [1.0],
        dict(type='Cosine', value=1),
        dict(value=1),
        dict(type='Steps', values=[1, 2], milestones=[]),
        dict(type='Steps', values=[1, 2, 3], milestones=[5, 5]),
        dict(type='Steps', values=[1, 2, 3], milestones=[7, 5]),
        dict(type='Steps', values=[1]),
        dict(type='Steps', values=[-1.0], milestones=[]),
        dict(type='Steps', values=[0.0, math.nan], milestones=[1]),
        dict(type='Steps', values=['much'], milestones=[]),
        dict(type='Ramp', value=1, length=2, kind='step'),
        dict(type='Ramp', value=1, length=-2),
        dict(type='Ramp', value=-1, length=2),
        dict(type='Ramp', value=math.inf, length=2),
        dict(type='Ramp', value=1, length=2, speed=3),
    ],
)
def test_what_is_no_schedule_is_refused_by_its_key(spec):
    with pytest.raises(SetupError, match='ddfp.weight'):
        build_schedule(spec, 'ddfp.weight')
