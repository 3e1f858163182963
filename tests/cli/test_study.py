"""tools/analysis/study.py on runs of two steps, in this process."""

import itertools
import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from miniatures import ROOT
from mmengine.config import Config
from shipped import STUDIES, shipped
from tiny_semi import tiny_data

from mmseg_semi import cli
from mmseg_semi.cli.analysis import runs, study
from mmseg_semi.data.splits import split_folder
from mmseg_semi.preparing import split_lists

_names = itertools.count()


class Processes:
    """Takes the place of the processes that a study starts, and notes them.

    Attributes:
        started: (command, method) of each process.
        failing: Method whose next training ends after one step, as if it had been killed.
    """

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.failing: str | None = None

    def __call__(self, command, log: Path) -> int:
        name, method = command[0], log.parent.parent.name
        self.started.append((name, method))
        run = f'study{next(_names)}'
        options = [f'experiment_name={run}', f'visualizer.name={run}']
        killed = name == 'train' and method == self.failing
        if killed:
            # a shorter run stands for a killed one, so its checkpoint must not say what it was
            options += ['train_cfg.max_iters=1', 'default_hooks.record=None']
        try:
            cli.main([*command, *options])
        except SystemExit as end:
            log.write_text('error: something is wrong\n')
            return end.code
        if killed:
            self.failing = None
            log.write_text('Killed\n')
            return 137
        return 0


@pytest.fixture
def processes(monkeypatch) -> Processes:
    found = Processes()
    monkeypatch.setattr(runs, 'start', found)
    monkeypatch.setattr('sys.argv', ['mmseg-semi'])
    return found


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """A study of two configs on one split with all labels, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for method in ('supervised', 'fixmatch'):
        cfg = tiny_data(tmp_path, method, iterations=2, checkpoint_interval=1, val_interval=1)
        dataset = cfg.train_dataloader.dataset
        for source in (dataset.labeled, dataset.get('unlabeled')):
            if source:
                del source['ann_file']
        dataset.split = str(tmp_path / 'data')
        cfg.dump(tmp_path / f'{method}.py')
    names = {
        kind: Path(f'data/{kind}.txt').read_text().split() for kind in ('labeled', 'unlabeled')
    }
    pair = (names['labeled'], names['unlabeled'])
    split_lists.write_split(Path('data/splits/tiny/4'), *pair, dict(protocol='tiny 4'))
    Path('data/splits/tiny/all').mkdir()
    Path('data/splits/tiny/all/labeled.txt').write_text('\n'.join(sum(pair, [])) + '\n')
    path = tmp_path / 'mine.py'
    path.write_text(
        "name = 'mine'\n"
        "configs = dict(supervised='supervised.py', fixmatch=dict(config='fixmatch.py', "
        "options=['model.objectives.1.weight=0.5']))\n"
        "splits = ['tiny 4']\n"
        "test = dict(pool=True, by_clip=True, clips='^([a-z]+)')\n"
        "all_labels = dict(config='supervised.py', split='tiny all')\n"
        'keep = False\n'
    )
    return path


def call(path, *options) -> int:
    try:
        study.main([str(path), *options])
    except SystemExit as end:
        return end.code
    return 0


def test_a_study_goes_on_where_it_stopped(file, processes, capsys):
    processes.failing = 'fixmatch'
    assert call(file) == 2
    said = capsys.readouterr().err
    assert (
        'error: fixmatch on tiny 4 with seed 0 ended with status 137; see work_dirs/mine/' in said
    )
    assert 'train.log' in said and 'the same command goes on where it stopped' in said
    folder = Path('work_dirs/mine')
    # the first run is finished, the second one has a checkpoint, the third one was not started
    first, second = (folder / method / 'tiny-4_run0' for method in ('supervised', 'fixmatch'))
    assert (first / 'done.json').is_file() and not list(first.glob('*.pth'))
    assert not (second / 'done.json').is_file() and (second / 'iter_1.pth').is_file()
    assert not (folder / 'all_labels').exists()

    processes.started.clear()
    assert call(file) == 0
    out = capsys.readouterr().out
    assert 'resuming from work_dirs/mine/fixmatch/tiny-4_run0/iter_1.pth' in out.splitlines()
    assert [method for name, method in processes.started if name == 'train'] == [
        'fixmatch',
        'all_labels',
    ]
    assert not any(method == 'supervised' for _, method in processes.started)
    results = json.loads((second / 'results.json').read_text())
    assert [entry['iter'] for entry in results['history']] == [1, 2]
    # last and best checkpoint on both sets of images; no pool where all images are labelled
    for run, kinds in (
        (second, ('pool', 'test')),
        (folder / 'all_labels/tiny-all_run0', ('test',)),
    ):
        for kind in kinds:
            assert (run / f'{kind}_iter_2.json').is_file()
            assert len(list(run.glob(f'{kind}_best_*_mIoU_iter_*.json'))) == 1
        assert len(list(run.glob('pool_*'))) == (2 if 'pool' in kinds else 0)
    scores = json.loads((second / 'pool_iter_2.json').read_text())
    assert scores['all']['images'] == 6 and list(scores['clips']) == ['train']
    assert not list(folder.rglob('*.pth'))  # keep=False
    saved = Config.fromfile(second / 'fixmatch.py')
    assert saved.model.objectives[1].weight == 0.5 and saved.randomness.seed == 0
    table = (folder / 'table.md').read_text()
    assert '| fixmatch | teacher | 1 |' in table and '| all_labels | student | 1 |' in table
    assert 'Unlabelled training images' in table and 'tiny 4, 4 labelled' in table
    numbers = json.loads((folder / 'table.json').read_text())
    assert numbers['reference'] == ['supervised'] and numbers['all_labels'] == 'all_labels'

    processes.started.clear()
    assert call(file) == 0 and not processes.started  # a finished study only writes its tables
    # other settings in the same folder are refused before anything runs
    file.write_text(file.read_text().replace('weight=0.5', 'weight=0.25'))
    assert call(file) == 2 and not processes.started
    assert 'fixmatch/tiny-4_run0 holds a run with options=' in capsys.readouterr().err


def test_started_runs_end_and_no_others_start(file, monkeypatch):
    started, ended = [], []

    def finish(run, *_):
        started.append(run.method)
        if run.method == 'supervised':
            raise runs.SetupError(f'{run.name} failed')
        ended.append(run.method)

    monkeypatch.setattr(runs, 'finish', finish)
    found = study.read_study(file)
    with pytest.raises(runs.SetupError, match='supervised on tiny 4 with seed 0 failed'):
        runs.finish_all(found.runs, 1, found.evaluation)
    assert started == ['supervised'] and not ended


@pytest.mark.parametrize(
    ('best', 'tested', 'written'),
    [
        (None, ['iter_4'], ['pool_iter_4']),
        (
            'best_mIoU_iter_2',
            ['best_mIoU_iter_2', 'iter_4'],
            ['pool_best_mIoU_iter_2', 'pool_iter_4'],
        ),
        # the same weights are evaluated once
        ('best_mIoU_iter_4', ['iter_4'], ['pool_best_mIoU_iter_4', 'pool_iter_4']),
    ],
)
def test_last_and_best_checkpoint(tmp_path, monkeypatch, best, tested, written):
    def start(command, log):
        assert command[0] == 'test' and '--pool' in command and command[-1] == 'randomness.seed=0'
        stem = Path(command[2]).stem
        (tmp_path / f'pool_{stem}.json').write_text(stem)
        done.append(stem)
        return 0

    done = []
    monkeypatch.setattr(runs, 'start', start)
    monkeypatch.setattr(runs, 'options_of', lambda *_: ['randomness.seed=0'])
    run = runs.Run('a', 'a.py', 'mine', 0, tmp_path)
    for stem in ['iter_4', *([best] if best else [])]:
        torch.save(dict(state_dict={}), tmp_path / f'{stem}.pth')
    runs.evaluate(run, 'pool', ['--pool'], None)
    assert sorted(done) == tested
    assert sorted(path.stem for path in tmp_path.glob('*.json')) == written
    for path in tmp_path.glob('*.pth'):
        path.unlink()
    runs.evaluate(run, 'pool', ['--pool'], None)  # nothing is left to do
    assert sorted(done) == tested
    with pytest.raises(runs.SetupError, match='has no checkpoint'):
        runs.evaluate(run, 'test', ['--by-clip'], None)


@pytest.fixture
def new_server(monkeypatch):
    """The server of a study, not one that another test has started with its own environment."""
    server = multiprocessing.forkserver._forkserver
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'PYTORCH_NVML_BASED_CUDA_CHECK'):
        monkeypatch.setenv(name, '8')
    server._stop()
    runs._server.cache_clear()
    yield
    server._stop()
    runs._server.cache_clear()


def _describe_process(sender) -> None:
    sender.send((torch.get_num_threads(), 'mmseg_semi.cli.train' in sys.modules))


def test_a_process_has_one_thread_and_its_own_log(tmp_path, new_server):
    context = runs._server()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_describe_process, args=(sender,))
    process.start()
    assert receiver.recv() == (1, True)
    process.join()
    log = tmp_path / 'train.log'
    log.write_text('earlier\n')
    assert runs.start(['train', 'gone.py', '--work-dir', str(tmp_path)], log) == 2
    first, *said = log.read_text().splitlines()
    assert first == 'earlier' and said[-1].startswith("error: config 'gone.py' does not exist")
    assert runs.start(['nothing'], log) == 2
    assert "'nothing' is no command" in log.read_text()


def _parent_of_a_run(sender, log: Path) -> None:
    """A process that waits for its child, as the server of a study does."""

    def command(arguments):
        sender.send(os.getpid())
        time.sleep(60)

    if os.fork() == 0:
        runs.cli.main = command  # of this process
        runs._run(['train'], str(log))
    time.sleep(60)
    os._exit(0)


@pytest.mark.skipif(sys.platform != 'linux', reason='prctl(2) is of Linux')
def test_a_run_ends_with_its_study(tmp_path):
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    parent = context.Process(target=_parent_of_a_run, args=(sender, tmp_path / 'train.log'))
    parent.start()
    run = Path('/proc', str(receiver.recv()), 'stat')
    assert run.is_file()
    parent.kill()
    parent.join()
    for _ in range(100):
        # where its new parent does not ask for its status, an ended process stays as a zombie
        if not run.is_file() or run.read_text().split()[2] == 'Z':
            return
        time.sleep(0.1)
    os.kill(int(run.parent.name), signal.SIGKILL)
    pytest.fail('the run has outlived its study')


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ("name = 'mine'", "nome = 'mine'", "key nome; did you mean 'name'?"),
        ("name = 'mine'\n", '', 'has no key name'),
        ("['tiny 4']", "'tiny 4'", 'must each be a list'),
        ('pool=True', 'pol=True', "key test.pol; did you mean 'pool'?"),
        ('keep = False', "reference = 'cct'", "reference is 'cct', expected one of supervised"),
        (", split='tiny all'", '', "all_labels has no key 'split'"),
        ("'tiny all'", "'tiny non'", 'holds no labeled.txt'),
        ("['tiny 4']", "['tiny all']", 'holds no unlabeled.txt'),
        ("'supervised.py', fix", "'gone.py', fix", "config 'gone.py' does not exist"),
        ('fixmatch=dict(', 'fixmatch=dict(seed=1, ', 'key configs.fixmatch.seed'),
    ],
)
def test_mistakes_are_said_before_anything_runs(file, processes, capsys, old, new, words):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert call(file) == 2 and not processes.started
    assert words in capsys.readouterr().err


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_shipped_studies(path):
    found = study.read_study(path)
    assert path.stem == found.name and found.all_labels
    for split in {run.split for run in found.runs}:
        assert (split_folder(split) / 'labeled.txt').is_file()
    assert len({run.folder for run in found.runs}) == len(found.runs)
    for run in found.runs:
        cfg = shipped(ROOT / run.config)
        for option in run.options:  # each replaces a value that is there
            node, *keys = [cfg, *option.partition('=')[0].split('.')]
            for key in keys:
                node = node[int(key) if key.isdigit() else key]
