"""Checks of a run's length and batch whose outcome is a warning, or no refusal; refusals are in test_bad_input.py."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, PolyLR
from tiny_semi import tiny_model

from mmseg_semi.errors import SetupError
from mmseg_semi.step import run_checks


def said_of(schedules, iterations=100) -> list[str]:
    return run_checks.check_schedules(
        SimpleNamespace(param_schedulers=schedules, max_iters=iterations, train_loop=None)
    )


@pytest.fixture
def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.1)


def test_schedules_that_fit(optimizer):
    common = dict(optimizer=optimizer, by_epoch=False)
    warmed = [
        LinearLR(start_factor=0.1, end=10, **common),
        PolyLR(eta_min=0.0, begin=10, end=100, **common),
    ]
    for fitting in (warmed, [MultiStepLR(milestones=[50], **common)], [PolyLR(end=100, **common)]):
        assert said_of(fitting) == []
    assert said_of(None) == []


def test_schedules_that_do_not(optimizer):
    common = dict(optimizer=optimizer, by_epoch=False)
    with pytest.raises(
        SetupError, match=r'PolyLR brings lr to 0 at iteration 60.*last 40; .*end=100'
    ):
        said_of([PolyLR(eta_min=0.0, end=60, **common)])
    assert said_of([PolyLR(eta_min=1e-4, end=60, **common)]) == [
        'param_scheduler: PolyLR ends at iteration 60 of 100; lr stays as it is then'
    ]
    (said,) = said_of([CosineAnnealingLR(T_max=300, eta_min=0.0, end=300, **common)])
    assert 'ends at iteration 300, after the run of max_iters=100' in said and 'end=100' in said


def test_a_phase_beyond_the_run():
    model = tiny_model('ddfp')  # two iterations a unit; self-training from 1, perturbation from 2
    assert run_checks.check_phases(model, 5) == []
    (said,) = run_checks.check_phases(model, 4)
    assert "'ddfp' has the weight 0 in all 4 iterations" in said
    assert len(run_checks.check_phases(model, 2)) == 2


@pytest.mark.parametrize(
    ('method', 'changes', 'counts', 'expected'),
    [
        ('fixmatch', {}, [1, 1], 1),  # labelled images pass alone in the first phase
        ('fixmatch', {}, [2, 2], 2),
        ('supervised', {}, [1], 1),
        ('cct', {}, [3, 1], 1),  # each view passes alone
        ('cct', {}, [3, 2], 2),
        ('cct', {}, [2, 1, 1], 2),  # two sources of unlabelled images
    ],
)
def test_the_smallest_pass(method, changes, counts, expected):
    model = tiny_model(method, **changes)
    assert run_checks.smallest_pass(model, counts) == expected


def test_one_image_and_norms_that_need_no_batch():
    sampler = SimpleNamespace(num_per_source=[1, 1])
    run_checks.check_batch(tiny_model('fixmatch', norm='GN'), sampler, 64)
    model = tiny_model('fixmatch')
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(SetupError, match=r'1 labelled and 1 unlabelled.*batch_size=4'):
        run_checks.check_batch(model, sampler, 64)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
