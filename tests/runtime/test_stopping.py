"""Runs that are ended before their last iteration: what they leave behind, and that they go on from it."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from tiny_semi import tiny_data
from whole_runs import (
    assert_same,
    assert_same_checkpoint,
    call_tool,
    forkserver,
    make_light,
    on_ranks,
    train,
)

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import devices
from mmseg_semi.runtime.checkpoints import is_whole
from mmseg_semi.runtime.stopping import (
    Interrupted,
    StopHook,
    Stopped,
    StopRequests,
    parse_time,
    stop_requests,
)


class Signal(Hook):
    """Sends a signal to this process, as a person or a job system does."""

    priority = 'NORMAL'

    def __init__(self, number: int, iteration: int, place: str = 'train') -> None:
        self.number, self.iteration, self.place = number, iteration, place

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.place == 'train' and runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), self.number)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.place == 'val' and runner.iter == self.iteration:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope='module')
def server():
    """Processes are forked from one that has imported the package: once for this file."""
    with forkserver() as context:
        yield context


@pytest.fixture(scope='module')
def cfg(tmp_path_factory) -> Config:
    """Eight iterations, validations at 4 and 8, checkpoints at 3, 6, 8 and, by the first and best validation, at 4."""
    folder = tmp_path_factory.mktemp('stopping')
    return tiny_data(folder, 'fixmatch', checkpoint_interval=3, val_interval=4)


@pytest.fixture(scope='module')
def whole(cfg, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('whole')
    train(cfg, folder)
    return folder


def stop(cfg: Config, folder: Path, hook: Hook, resume: bool = False) -> Stopped:
    with stop_requests() as requests, pytest.raises(Stopped) as ended:
        train(cfg, folder, resume, hooks=(StopHook(requests), hook))
    devices.end_workers()
    return ended.value


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob('*.pth')}


@pytest.mark.parametrize(
    ('number', 'iteration', 'place', 'left'),
    [
        (
            signal.SIGINT,
            5,
            'train',
            {'iter_3.pth', 'iter_4.pth', 'iter_5.pth'},
        ),  # between two checkpoints
        (signal.SIGTERM, 3, 'train', {'iter_3.pth'}),  # where there is a checkpoint
        (signal.SIGINT, 4, 'val', {'iter_3.pth', 'iter_4.pth'}),  # in its validation
        (signal.SIGINT, 8, 'val', {'iter_6.pth', 'iter_8.pth'}),  # in the last validation
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    cfg, whole, tmp_path, number, iteration, place, left
):
    ended = stop(cfg, tmp_path, Signal(number, iteration, place))
    assert (ended.iteration, ended.status) == (iteration, 128 + number)
    assert ended.checkpoint == str(tmp_path / f'iter_{iteration}.pth')
    assert {name for name in files(tmp_path) if name.startswith('iter')} == left
    assert (tmp_path / 'last_checkpoint').read_text() == f'iter_{iteration}.pth'
    train(cfg, tmp_path, resume=True)
    one, other = (
        torch.load(folder / 'iter_8.pth', weights_only=True) for folder in (whole, tmp_path)
    )
    if iteration == 8:  # only a validation was left: the log's iteration is that of its beginning
        assert one['message_hub']['runtime_info'].pop('iter') == 7
        assert other['message_hub']['runtime_info'].pop('iter') == 8
    assert_same(one, other)
    assert files(tmp_path) == files(whole)


def test_stopped_twice_before_the_next_checkpoint(cfg, whole, tmp_path):
    stop(cfg, tmp_path, Signal(signal.SIGINT, 4))
    ended = stop(cfg, tmp_path, Signal(signal.SIGTERM, 5), resume=True)
    assert ended.iteration == 5
    assert {name for name in files(tmp_path) if name.startswith('iter')} == {
        'iter_3.pth',
        'iter_4.pth',
        'iter_5.pth',
    }
    train(cfg, tmp_path, resume=True)
    assert_same_checkpoint(whole / 'iter_8.pth', tmp_path / 'iter_8.pth')


def test_a_run_without_checkpoints_says_so(cfg, tmp_path):
    changed = cfg.copy()
    changed.default_hooks = {**cfg.default_hooks, 'checkpoint': None}
    assert stop(changed, tmp_path, Signal(signal.SIGINT, 2)).checkpoint is None
    assert not files(tmp_path)


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests() as requests:
        assert signal.getsignal(signal.SIGTERM) == requests.receive
        with pytest.raises(Interrupted) as interrupted:  # nothing runs that could be finished
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        assert interrupted.value.status == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def wait_for_ever(ready: Path, forked: Path) -> None:
    with stop_requests() as requests:
        requests.can_wait = True
        if os.fork() == 0:  # a child, such as a data loader's worker, leaves signals to its parent
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            forked.write_text('alive')
            os._exit(0)
        os.wait()
        ready.write_text('ready')
        while True:
            time.sleep(0.05)


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_second_signal_ends_at_once(tmp_path, server):
    ready, forked = tmp_path / 'ready', tmp_path / 'forked'
    process = server.Process(target=wait_for_ever, args=(ready, forked))
    process.start()
    wait_until(ready.exists)
    assert forked.read_text() == 'alive'
    for _ in range(2):  # `timeout` sends a signal twice, which is one request
        os.kill(process.pid, signal.SIGINT)
    process.join(0.7)
    assert process.exitcode is None
    os.kill(process.pid, signal.SIGINT)
    process.join(10)
    assert process.exitcode == 130


def run_command(config: str, work_dir: Path) -> None:
    make_light()
    log = os.open(f'{work_dir}.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setpgid(0, 0)  # as a shell does for a command
    call_tool('train', config, '--work-dir', work_dir, '--resume')


@pytest.mark.parametrize(
    ('number', 'name'), [(signal.SIGINT, 'SIGINT'), (signal.SIGTERM, 'SIGTERM')]
)
def test_a_signal_to_a_command_with_workers(tmp_path, server, number, name):
    """A terminal sends SIGINT, a job system SIGTERM, to all processes of the command, its workers among them."""
    cfg = tiny_data(
        tmp_path, 'supervised', iterations=4000, num_workers=2, checkpoint_interval=4000
    )
    cfg.default_hooks.logger = dict(type='ProgressHook', interval=1)
    cfg.log_level = 'INFO'
    cfg.dump(cfg.filename)
    work_dir, log = tmp_path / 'run', tmp_path / 'run.log'
    process = server.Process(target=run_command, args=(cfg.filename, work_dir))
    process.start()
    wait_until(lambda: log.exists() and 'iteration    5/4000' in log.read_text())
    os.killpg(process.pid, number)
    process.join(60)
    said = log.read_text()
    assert process.exitcode == 128 + number, said
    assert 'Traceback' not in said and f'{name}: stopped after iteration' in said
    assert f'{cfg.filename} --work-dir {work_dir} --resume' in said
    (saved,) = work_dir.glob('iter_*.pth')
    content = torch.load(saved, weights_only=True)
    assert 5 <= content['meta']['iter'] < 4000
    assert not multiprocessing.active_children()


def stop_on_rank_one(rank: int, path: str, folder: Path) -> tuple[int, str]:
    cfg = Config.fromfile(path)
    devices.init_distributed(cfg, 'pytorch')
    requests = StopRequests()

    class Ask(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if rank == 1 and runner.iter + 1 == 2:
                requests.signal = signal.SIGTERM

    try:
        train(cfg, folder, hooks=(StopHook(requests), Ask()))
    except Stopped as ended:
        return ended.iteration, ended.checkpoint
    raise AssertionError('the run was not stopped')


def test_all_ranks_stop_at_one_iteration(cfg, tmp_path):
    one, other = on_ranks(stop_on_rank_one, 2, cfg.filename, tmp_path)
    assert one == other == (3, str(tmp_path / 'iter_3.pth'))
    assert is_whole(tmp_path / 'iter_3.pth')


def test_the_time_of_a_run(cfg, tmp_path, capfd):
    name = f'time_{time.time_ns()}'
    call_tool(
        'train',
        cfg.filename,
        *('--work-dir', tmp_path, '--time', '0.01s', '--cfg-options'),
        *(f'experiment_name={name}', f'visualizer.name={name}'),
    )
    said = capfd.readouterr().out
    assert 'time is up: stopped after iteration 1 of 8' in said
    assert '--time 0.01s --cfg-options' in said and said.rstrip().endswith('--resume')
    assert torch.load(tmp_path / 'iter_1.pth', weights_only=True)['meta']['iter'] == 1


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [('90m', 5400), ('2h', 7200), ('1h30m', 5400), ('45s', 45), ('1.5h', 5400), ('1m1s', 61)],
)
def test_durations(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize('text', ['', '90', '2 hours', '-1h', '0s', '1:30', 'h'])
def test_what_is_no_duration(text):
    with pytest.raises(SetupError, match='--time .* such as 2h, 90m'):
        parse_time(text)
