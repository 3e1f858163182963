"""Early stopping: which metric it follows, when it ends a run, and that a resumed run goes on counting."""

import pytest
import torch
from tiny_semi import tiny_data
from whole_runs import train

from mmseg_semi.cli.train import add_early_stopping
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.early_stopping import SemiEarlyStoppingHook


@pytest.fixture
def cfg(tmp_path):
    """A validation every two of twenty iterations; none but the first is 50 points better than the ones before."""
    cfg = tiny_data(
        tmp_path, 'fixmatch', iterations=20, checkpoint_interval=20, val_interval=2, batch_size=2
    )
    cfg.custom_hooks = [
        dict(type='EarlyStoppingHook', monitor='mIoU', patience=2, min_delta=50.0, rule='greater')
    ]
    return cfg


def state(folder, iteration: int) -> dict:
    content = torch.load(folder / f'iter_{iteration}.pth', weights_only=True)
    assert content['meta']['iter'] == iteration
    return content['message_hub']['runtime_info']['early_stopping']


def test_mmengines_hook_follows_the_network_that_predicts(cfg, tmp_path):
    runner = train(cfg, tmp_path / 'run')
    assert runner.iter == 6  # better than nothing at 2, no better at 4 and 6
    assert state(tmp_path / 'run', 6)['wait_count'] == 2
    assert not (tmp_path / 'run' / 'iter_20.pth').exists()
    # a run that has ended so does not begin again, and with more patience it goes on
    assert train(cfg, tmp_path / 'run', resume=True).iter == 6
    cfg.custom_hooks[0].patience = 3
    assert train(cfg, tmp_path / 'run', resume=True).iter == 8


def test_a_resumed_run_goes_on_counting(cfg, tmp_path):
    cfg.default_hooks.checkpoint.interval = 1
    train(cfg, tmp_path / 'run', stop=5)  # one validation was no better
    assert state(tmp_path / 'run', 4)['wait_count'] == 1
    assert train(cfg, tmp_path / 'run', resume=True).iter == 6


@pytest.mark.parametrize('monitor', ['mIou', 'teacher/mDice'])
def test_a_metric_that_is_none(cfg, tmp_path, monitor):
    cfg.custom_hooks[0].monitor = monitor
    with pytest.raises(
        SetupError,
        match=r'monitor=.* is no metric of the validation, .*mIoU of teacher and student',
    ):
        train(cfg, tmp_path / 'run')


class Loop:
    stop_training = False


class FakeRunner:
    """What the hook looks at, after a validation."""

    class logger:
        info = staticmethod(lambda text: None)

    class message_hub:
        update_info = staticmethod(lambda key, value: None)

    def __init__(self) -> None:
        self.train_loop, self.iter = Loop(), 0


@pytest.mark.parametrize(
    ('values', 'ends_after'),
    [
        ([10, 11, 12, 13, 14], None),
        ([10, 10, 10], 3),  # an equal value is no improvement
        ([10, 9, 11, 10, 9], 5),
        ([10, float('nan')], 2),
    ],
)
def test_what_an_improvement_is(values, ends_after):
    hook, runner = SemiEarlyStoppingHook('mIoU', patience=2), FakeRunner()
    stopped = None
    for number, value in enumerate(values, 1):
        hook.after_val_epoch(runner, {'mIoU': value})
        if runner.train_loop.stop_training and stopped is None:
            stopped = number
    assert stopped == ends_after


def test_the_option(cfg):
    with pytest.raises(SetupError, match='EarlyStoppingHook of its own'):
        add_early_stopping(cfg, 5)
    cfg.custom_hooks = []
    with pytest.raises(SetupError, match='--early-stop 0: expected'):
        add_early_stopping(cfg, 0)
    add_early_stopping(cfg, 7)
    (hook,) = cfg.custom_hooks
    assert (hook.type, hook.monitor, hook.patience) == ('SemiEarlyStoppingHook', 'mIoU', 7)
