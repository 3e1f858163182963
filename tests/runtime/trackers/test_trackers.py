"""Each tracker's run is continued by --resume, and only then."""

import json
import random
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import stand_in_trackers
import torch
from mmengine.config import Config
from mmengine.visualization import TensorboardVisBackend
from mmseg.registry import VISBACKENDS
from stand_in_trackers import config, start
from tiny_semi import tiny_data
from whole_runs import train

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.report.collect import read_run
from mmseg_semi.runtime.trackers import TrackersHook, follow
from mmseg_semi.runtime.trackers.record import FILE, read

# -- each tracker -------------------------------------------------------------------------------


def test_wandb_continues_the_id(calls, tmp_path):
    stand_in_trackers.wandb(calls)
    start(tmp_path / 'a', 'WandbVisBackend', init_kwargs=dict(project='p'))
    start(tmp_path / 'a', 'WandbVisBackend', init_kwargs=dict(project='p'), resume=True)
    start(tmp_path / 'a', 'WandbVisBackend', init_kwargs=dict(project='p'), resume=True)
    first, *others = calls.of('init')
    folder = str(tmp_path / 'a/000001/vis_data')
    assert first == dict(project='p', dir=folder)
    again = dict(first, id='run1', resume='allow', allow_val_change=True)
    assert others == [again, again]
    assert [one['allow_val_change'] for one in calls.of('config')] == [False, True, True]


def test_wandb_stores_no_code_if_that_is_off(calls, tmp_path):
    stand_in_trackers.wandb(calls)
    start(tmp_path, 'WandbVisBackend', init_kwargs=dict(settings=dict(disable_code=True)))
    assert calls.of('config') and not calls.of('code')
    start(tmp_path, 'WandbVisBackend')
    assert len(calls.of('config')) == 2 and len(calls.of('code')) == 1


def test_wandb_without_a_run(calls, tmp_path):
    """mode='disabled' has an id that belongs to nothing."""
    stand_in_trackers.wandb(calls)
    start(tmp_path, 'WandbVisBackend', init_kwargs=dict(mode='disabled'))
    start(tmp_path, 'WandbVisBackend', resume=True)
    assert 'id' not in calls.of('init')[1]


def test_tensorboard_keeps_the_folder_and_drops_what_came_later(calls, tmp_path):
    stand_in_trackers.tensorboard(calls)
    backend = start(tmp_path, 'TensorboardVisBackend')
    assert isinstance(backend, TensorboardVisBackend)
    start(tmp_path, 'TensorboardVisBackend', resume=True, iteration=4)
    folder = str(tmp_path / '000001/vis_data')
    writers = [dict(folder=folder, purge_step=None), dict(folder=folder, purge_step=5)]
    assert calls.of('writer') == writers
    assert calls.of('text') == [dict(tag='config')] * 2
    runner = SimpleNamespace(visualizer=SimpleNamespace(_vis_backends=dict(tensorboard=backend)))
    TrackersHook().before_save_checkpoint(runner, {})
    assert calls[-1] == ('flush', {})


def test_a_folder_of_tensorboard_as_tensorboard_reads_it(tmp_path):
    """Each step once: those behind the checkpoint come from the resumed run."""
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    before = start(tmp_path, 'TensorboardVisBackend')
    for step in range(1, 8):
        before.add_scalars({'loss': 1.0}, step)
    before.flush()  # and then it is killed
    after = start(tmp_path, 'TensorboardVisBackend', resume=True, iteration=4)
    for step in range(5, 10):
        after.add_scalars({'loss': 2.0}, step)
    after.close()
    found = reader.EventAccumulator(str(tmp_path / '000001/vis_data')).Reload()
    points = [(one.step, one.value) for one in found.Scalars('loss')]
    assert points == [(step, 1.0 if step < 5 else 2.0) for step in range(1, 10)]


def test_a_moved_work_folder(calls, tmp_path):
    stand_in_trackers.tensorboard(calls)
    start(tmp_path / 'a', 'TensorboardVisBackend')
    (tmp_path / 'a').rename(tmp_path / 'b')
    start(tmp_path / 'b', 'TensorboardVisBackend', resume=True)
    assert calls.of('writer')[1]['folder'] == str(tmp_path / 'b/000001/vis_data')


def test_clearml_continues_the_task_without_shifting_its_steps(calls, tmp_path):
    stand_in_trackers.clearml(calls)
    start(tmp_path, 'ClearMLVisBackend', init_kwargs=dict(task_name='t'))
    start(tmp_path, 'ClearMLVisBackend', init_kwargs=dict(task_name='t'), resume=True)
    first, second = calls.of('init')
    assert first == dict(task_name='t', reuse_last_task_id=False, seed=None)
    assert second == dict(first, reuse_last_task_id='task1', continue_last_task=0)
    assert type(second['continue_last_task']) is int  # ClearML reads False as: empty the task


def test_a_tracker_leaves_generators_and_signals_as_they_are(calls, tmp_path):
    stand_in_trackers.clearml(calls)

    def requests(*_) -> None: ...

    before = signal.signal(signal.SIGTERM, requests)
    try:
        draws = []
        for folder in ('without', 'with'):
            random.seed(3), np.random.seed(3), torch.manual_seed(3)
            if folder == 'with':
                start(tmp_path, 'ClearMLVisBackend')
            draws.append((random.random(), np.random.rand(), float(torch.rand(()))))
        assert draws[0] == draws[1]
        assert signal.getsignal(signal.SIGTERM) is requests
    finally:
        signal.signal(signal.SIGTERM, before)


def test_aim_continues_the_hash_in_its_repository(calls, tmp_path):
    stand_in_trackers.aim(calls)
    start(tmp_path, 'AimVisBackend')
    start(tmp_path, 'AimVisBackend', resume=True)
    first, second = calls.of('run')
    assert first == dict(run_hash=None, repo=None, experiment='000001_vis_data')
    assert second == dict(run_hash='hash1', repo='/here', experiment='000001_vis_data')


def test_neptune_continues_an_id_of_ours(calls, tmp_path):
    stand_in_trackers.neptune(calls)
    start(tmp_path, 'NeptuneVisBackend')
    start(tmp_path, 'NeptuneVisBackend', resume=True)
    start(tmp_path / 'b', 'NeptuneVisBackend', init_kwargs=dict(project='p'))
    first, second, other = calls.of('init_run')
    assert first == second and first['mode'] == 'offline' and len(first['custom_run_id']) == 32
    assert 'mode' not in other and other['custom_run_id'] != first['custom_run_id']


def test_swanlab_continues_the_id(calls, tmp_path):
    stand_in_trackers.swanlab(calls)
    start(tmp_path, 'SwanlabVisBackend', init_kwargs=dict(mode='offline')).close()
    start(tmp_path, 'SwanlabVisBackend', init_kwargs=dict(mode='offline'), resume=True)
    first, second = calls.of('init')
    assert first == dict(mode='offline', log_dir=str(tmp_path / '000001/vis_data'))
    assert second == dict(first, id='run1', resume='allow')
    assert len(calls.of('finish')) == 1  # a second training of a process is a run of its own


# -- new runs, and what the config says --------------------------------------------------------


def test_a_run_that_is_not_resumed_is_a_new_one(calls, tmp_path):
    """In another folder, in the same one, and resumed in a folder without a record."""
    stand_in_trackers.wandb(calls)
    start(tmp_path / 'a', 'WandbVisBackend')
    start(tmp_path / 'b', 'WandbVisBackend')
    start(tmp_path / 'c', 'WandbVisBackend', resume=True)
    start(tmp_path / 'a', 'WandbVisBackend')
    assert not any('id' in one for one in calls.of('init'))
    assert read(tmp_path / 'a')['wandb']['id'] == 'run4'


OWN = {
    'wandb id': ('wandb', dict(init_kwargs=dict(id='mine')), dict(id='mine', resume='allow')),
    'wandb fork': (
        'wandb',
        dict(init_kwargs=dict(fork_from='x?_step=3')),
        dict(fork_from='x?_step=3'),
    ),
    'wandb resume': ('wandb', dict(init_kwargs=dict(resume='must')), dict(resume='must')),
    'wandb folder': ('wandb', dict(save_dir='mine'), dict(dir='mine')),
    'clearml': (
        'clearml',
        dict(init_kwargs=dict(reuse_last_task_id=True)),
        dict(reuse_last_task_id=True, seed=None),
    ),
    'aim': ('aim', dict(init_kwargs=dict(run_hash='m', repo='r')), dict(run_hash='m', repo='r')),
    'neptune': ('neptune', dict(init_kwargs=dict(with_id='N-1')), dict(with_id='N-1')),
    'dvclive': (
        'dvclive',
        dict(init_kwargs=dict(dir='mine', resume=False)),
        dict(dir='mine', resume=False),
    ),
    'tensorboard': ('tensorboard', dict(save_dir='mine'), dict(folder='mine', purge_step=1)),
}
CLASSES = dict(
    aim='AimVisBackend',
    clearml='ClearMLVisBackend',
    dvclive='DVCLiveVisBackend',
    neptune='NeptuneVisBackend',
    tensorboard='TensorboardVisBackend',
    wandb='WandbVisBackend',
)


@pytest.mark.parametrize('name', OWN)
def test_what_the_config_says_stays(calls, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    tracker, arguments, expected = OWN[name]
    getattr(stand_in_trackers, tracker)(calls)
    start(tmp_path / 'a', CLASSES[tracker])
    opened = len(calls)
    start(tmp_path / 'a', CLASSES[tracker], resume=True, **arguments)
    found = calls[opened][1]
    assert expected.items() <= found.items()
    if name in ('wandb fork', 'clearml', 'neptune'):
        assert found.keys() <= expected.keys() | {'dir'}


def test_an_id_of_the_environment_stays(calls, tmp_path, monkeypatch):
    stand_in_trackers.wandb(calls)
    start(tmp_path, 'WandbVisBackend')
    monkeypatch.setenv('WANDB_RUN_ID', 'mine')
    start(tmp_path, 'WandbVisBackend', resume=True)
    assert 'id' not in calls.of('init')[1] and calls.of('init')[1]['resume'] == 'allow'
    assert read(tmp_path)['wandb']['id'] == 'mine'


# -- which backends -----------------------------------------------------------------------------


class OwnBackend(TensorboardVisBackend):
    """A user's."""


@pytest.mark.parametrize(
    'kind, expected',
    [
        ('TensorboardVisBackend', 'ContinuedTensorboardVisBackend'),
        ('mmengine.TensorboardVisBackend', 'ContinuedTensorboardVisBackend'),
        (TensorboardVisBackend, 'ContinuedTensorboardVisBackend'),
        ('LocalVisBackend', 'LocalVisBackend'),
        (OwnBackend, OwnBackend),
    ],
    ids=str,
)
def test_backends_of_mmengine_are_followed(kind, expected):
    cfg = config(dict(type=kind))
    for _ in range(2):
        follow(cfg)
        (entry,) = cfg.visualizer.vis_backends
        assert entry['type'] == expected
        assert entry.get('name', 'TensorboardVisBackend') == 'TensorboardVisBackend'


def test_without_the_hook_nothing_is_followed():
    cfg = config(dict(type='WandbVisBackend'), timer=dict(type='IterTimerHook'))
    follow(cfg)
    assert cfg.visualizer.vis_backends == [dict(type='WandbVisBackend')]
    follow(Config(dict(default_hooks=None, visualizer=None)))


@pytest.mark.parametrize('kind', ['WandbVisBackend', 'TensorboardVisBackend', 'MLflowVisBackend'])
def test_a_package_that_is_not_installed(calls, tmp_path, kind):
    with pytest.raises(SetupError, match=f'visualizer.vis_backends: {kind} needs a package'):
        start(tmp_path, kind)


def test_only_the_first_process_opens_and_writes(calls, tmp_path, monkeypatch):
    stand_in_trackers.wandb(calls)
    monkeypatch.setattr('mmengine.dist.utils.is_main_process', lambda: False)
    start(tmp_path, 'WandbVisBackend')
    assert not calls and not (tmp_path / FILE).exists()


def test_no_record_without_a_tracker(tmp_path):
    start(tmp_path, 'LocalVisBackend')
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize('text', ['{"wandb": ', '[]', '{"wandb": "1a2b"}'])
def test_a_record_that_is_none(calls, tmp_path, text):
    stand_in_trackers.wandb(calls)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SetupError, match='remove it, and the trackers begin new runs'):
        start(tmp_path, 'WandbVisBackend', resume=True)
    assert not calls


def test_the_registry_has_each_backend():
    for kind in CLASSES.values():
        assert VISBACKENDS.get(f'Continued{kind}').__name__ == f'Continued{kind}'


# -- a whole run --------------------------------------------------------------------------------


def test_a_training_in_three_parts(calls, tmp_path):
    """One run of the tracker with every iteration; the report reads all of MMEngine's own files."""
    stand_in_trackers.wandb(calls)
    cfg = tiny_data(tmp_path, 'supervised', iterations=8, checkpoint_interval=2, val_interval=4)
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend'), dict(type='WandbVisBackend')]
    cfg.default_hooks.trackers = dict(type='TrackersHook')
    work = tmp_path / 'run'
    train(cfg, work, stop=3)
    train(cfg, work, resume=True, stop=5)
    cfg.optim_wrapper.optimizer.lr = 0.5
    with pytest.raises(SetupError, match='another run'):  # refused: the record stays
        train(cfg, work, resume=True)
    cfg.optim_wrapper.optimizer.lr = 0.02
    train(cfg, work, resume=True)
    assert [one.get('id') for one in calls.of('init')] == [None, 'run1', 'run1', 'run1']
    assert json.loads((work / FILE).read_text())['wandb']['id'] == 'run1'
    rows = [one['iter'] for one in calls.of('log') if 'iter' in one]
    assert rows == [1, 2, 3, 3, 4, 5, 5, 6, 7, 8]
    run = read_run(work)
    assert [step for step, _ in run.scalars['loss']] == list(range(1, 9))
    assert [entry['iter'] for entry in run.history] == [4, 8]
