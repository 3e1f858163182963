from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.step.hooks import MeanTeacherHook
from mmseg_semi.step.teacher import MovingAverage, TeacherRecipe, build_teacher


def run(iterations: int, recipe: dict, unit: int = 1, **hook) -> list[tuple[dict, dict]]:
    """State of student and teacher, in float64, after every iteration; the student wanders at random."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    recipe = TeacherRecipe(**recipe)
    teacher = build_teacher(student, recipe)
    model = SimpleNamespace(
        start_step=None, recipe=recipe, iters_per_epoch=unit, student=student, teacher=teacher
    )
    runner = SimpleNamespace(model=model, iter=0, max_iters=iterations)
    hook = MeanTeacherHook(**hook)
    hook.before_train(runner)
    states = []
    for iteration in range(iterations):
        runner.iter = iteration
        with torch.no_grad():
            for tensor in (*student.parameters(), *student.buffers()):
                tensor.add_(torch.randn(tensor.shape) if tensor.is_floating_point() else 1)
        hook.after_train_iter(runner, iteration)
        states.append(
            tuple(
                {key: value.double().clone() for key, value in network.state_dict().items()}
                for network in (student, teacher)
            )
        )
    return states


def initial_teacher() -> dict:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    return {key: value.double().clone() for key, value in network.state_dict().items()}


def check(
    states, decays: list[float | None], average_buffers: bool = False, copy_buffers: bool = True
):
    """The teacher is that of a loop in float64; a decay of None leaves it alone."""
    expected = initial_teacher()
    for (student, teacher), decay in zip(states, decays, strict=True):
        for key in expected if decay is not None else ():
            buffer = 'running' in key or 'num' in key
            averaged = (not buffer) or (average_buffers and 'num' not in key)
            if averaged:
                expected[key] = decay * expected[key] + (1 - decay) * student[key]
            elif copy_buffers:
                expected[key] = student[key].clone()
        for key, value in expected.items():
            assert torch.allclose(teacher[key], value, rtol=1e-5, atol=1e-5), key


def test_average_is_the_loop_of_the_paper():
    states = run(40, dict(weights='ema'), momentum=0.1)
    check(states, [min(1 - 1 / (n + 1), 0.9) for n in range(40)])


def test_the_published_momentum_is_reached_after_a_thousand_updates():
    decay = MovingAverage(nn.Linear(1, 1), nn.Linear(1, 1), momentum=0.001).decay
    assert decay(0) == 0
    assert decay(1) == 0.5 and decay(9) == pytest.approx(0.9)
    assert decay(998) == pytest.approx(1 - 1 / 999) and decay(998) < 0.999
    assert decay(999) == 0.999 and decay(10**6) == 0.999
    states = run(1010, dict(weights='ema'))
    check(states, [min(1 - 1 / (n + 1), 0.999) for n in range(1010)])


def test_it_starts_where_the_recipe_says():
    # start and copy_until are times: 2 and 3 epochs of 4 iterations
    states = run(20, dict(weights='ema', start=2), unit=4, momentum=0.25)
    # left alone, copied in front of the first iteration that may ask it, then averaged from n = 0
    decays = [None] * 7 + [0.0] + [min(1 - 1 / (n + 1), 0.75) for n in range(12)]
    check(states, decays)
    assert decays[8:11] == [0.0, 0.5, pytest.approx(2 / 3)]


def test_it_copies_until_the_recipe_says():
    states = run(20, dict(weights='ema', start=2, copy_until=3), unit=4, momentum=0.25)
    decays = [None] * 7 + [0.0] * 5 + [min(1 - 1 / (n + 1), 0.75) for n in range(4, 12)]
    check(states, decays)
    assert decays[12] == 0.75


def test_interval():
    states = run(12, dict(weights='ema'), momentum=0.1, interval=3)
    decays = [None if (i + 1) % 3 else min(1 - 1 / (i + 1), 0.9) for i in range(12)]
    check(states, decays)
    # the copy in front of a late start does not wait for the interval
    states = run(12, dict(weights='ema', start=5), momentum=0.1, interval=3)
    decays = [None] * 4 + [0.0, 0.0, None, None, 0.75, None, None, 1 - 1 / 7]
    check(states, decays)


def test_buffers():
    decays = [min(1 - 1 / (n + 1), 0.8) for n in range(10)]
    check(run(10, dict(buffers='copy'), momentum=0.2), decays)
    check(run(10, dict(buffers='average'), momentum=0.2), decays, average_buffers=True)
    check(run(10, dict(buffers='own', mode='train'), momentum=0.2), decays, copy_buffers=False)
    check(run(10, dict(buffers='copy'), momentum=0.2, skip_buffer=True), decays, copy_buffers=False)
    check(run(10, dict(buffers='copy'), momentum=0.2, skip_buffer=False), decays)


@pytest.mark.parametrize('buffers', ['copy', 'average', 'own'])
def test_a_shared_teacher_has_only_buffers_to_follow(buffers):
    states = run(10, dict(weights='shared', mode='train', buffers=buffers), momentum=0.2)
    initial = initial_teacher()
    mean = initial['1.running_mean']
    for n, (student, teacher) in enumerate(states):
        for key in ('0.weight', '0.bias', '1.weight', '1.bias'):
            assert torch.equal(student[key], teacher[key])
        if buffers == 'copy':
            mean = student['1.running_mean']
        elif buffers == 'average':
            decay = min(1 - 1 / (n + 1), 0.8)
            mean = decay * mean + (1 - decay) * student['1.running_mean']
        assert (teacher['1.running_mean'] - mean).abs().max() < 1e-5


def test_the_teacher_moves_less_than_the_student():
    states = run(200, dict(weights='ema'), momentum=0.01)
    moved = [0.0, 0.0]
    for before, after in zip(states[100:-1], states[101:], strict=True):
        for which in (0, 1):
            gap = after[which]['0.weight'] - before[which]['0.weight']
            moved[which] += gap.norm().item()
    assert moved[1] < 0.2 * moved[0]


def test_a_student_that_teaches_itself_needs_no_update():
    runner = SimpleNamespace(
        iter=0,
        model=SimpleNamespace(
            start_step=None,
            recipe=TeacherRecipe(weights='student'),
            iters_per_epoch=1,
            student=nn.Linear(1, 1),
            teacher=None,
        ),
    )
    hook = MeanTeacherHook()
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    assert hook.average is None


def test_a_window_follows_the_length_of_the_run():
    hook = MeanTeacherHook(window=0.25)
    assert hook.momentum_of(400) == 0.01 and hook.momentum_of(4000) == 0.001
    assert hook.momentum_of(3) == 1  # the teacher is the student
    # an average of this momentum is as old as a window of updates: the mean age of its weights is (1 - m) / m updates
    decay = 1 - hook.momentum_of(400)
    age = sum(n * (1 - decay) * decay**n for n in range(5000))
    assert age == pytest.approx(0.25 * 400 - 1, rel=1e-6)
    assert MeanTeacherHook(momentum=0.02, window=0.25).momentum_of(400) == 0.02
    assert MeanTeacherHook().momentum_of(400) == 0.001


@pytest.mark.parametrize('window', [0, 1.5, -0.1])
def test_a_window_is_a_share_of_the_run(window):
    with pytest.raises(
        SetupError, match=f'MeanTeacherHook: window={window}; expected the share of the run'
    ):
        MeanTeacherHook(window=window)


def test_mistakes():
    for settings in (dict(momentum=0), dict(momentum=1.5), dict(interval=0)):
        with pytest.raises(SetupError, match='MeanTeacherHook'):
            MeanTeacherHook(**settings)
    with pytest.raises(
        SetupError, match="MeanTeacherHook needs model.type='SemiSegmentor'.*Linear"
    ):
        MeanTeacherHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))
