"""Runs of a comparison: configs on label subsets with seeds, trained and tested in processes of their own.

A run's folder is ``FOLDER/METHOD/LIST_run<seed>``. Beside the files of the training it holds

- ``settings.json``: config, split, seed and options; a run with other settings is refused;
- ``done.json``: the summary of its ``results.json``, once it is trained;
- ``pool_*.json`` and ``test_*.json``: the scores of its last and its best checkpoint, see
  ``tools/test.py``;
- ``train.log`` and ``test.log``: what the processes printed.
"""

import ctypes
import functools
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rich.progress import Progress

from mmseg_semi import cli
from mmseg_semi.data.splits import split_folder
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.checkpoints import latest_checkpoint

KEY = 'train_dataloader.dataset'

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl(2)."""

_PRELOAD = [
    *(f'mmseg_semi.{cli.COMMANDS[name][0]}' for name in ('train', 'test')),
    # what every run imports sooner or later
    'matplotlib.pyplot',
    'torch._dynamo',
    'torch.utils.cpp_extension',
]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated after a training, on its last and its best checkpoint.

    Args:
        pool: The unlabelled training images, see ``tools/test.py --pool``.
        by_clip: The test set by class and clip.
        clips: See ``tools/test.py --clips``.
    """

    pool: bool = False
    by_clip: bool = False
    clips: str | None = None


@dataclass(frozen=True)
class Run:
    """One run of a comparison.

    Args:
        method: Name of its row in the tables.
        config: Path of its config.
        split: Name of its split or folder of its lists, see ``splits.split_folder``.
        seed: Seed of the training.
        folder: Its folder.
        options: Values of ``--cfg-options``, beside split and seed.
        amp: Whether to train with mixed precision.
    """

    method: str
    config: str
    split: str
    seed: int
    folder: Path
    options: tuple[str, ...] = ()
    amp: bool = False

    @property
    def name(self) -> str:
        """How messages call it."""
        return f'{self.method} on {self.split} with seed {self.seed}'

    @property
    def cfg_options(self) -> list[str]:
        """All values of ``--cfg-options``."""
        return [*options_of(self.config, self.split, self.seed), *self.options]


_READING = threading.RLock()
"""Held while a config is read in the thread of a run: Python parses no two files at a time (``ast.parse`` raises SystemError)."""


def options_of(config: str, split: str | Path, seed: int) -> list[str]:
    """Options that replace the lists of a config.

    Raises:
        SetupError: If the config has no lists, or a list is missing.
    """
    with _READING:
        dataset = configs.load_config(config).get('train_dataloader', {}).get('dataset', {})
    if dataset.get('type') != 'SemiDataset':
        raise SetupError(f"{config}: {KEY}.type is {dataset.get('type')!r}, expected 'SemiDataset'")
    lists = split_folder(str(split))
    options = [f'randomness.seed={seed}', 'default_hooks.checkpoint.max_keep_ckpts=1']
    by_split = dataset.get('split') is not None
    if by_split:
        # the folder: --cfg-options removes the blanks of a name
        options.append(f'{KEY}.split={lists}')
    if not by_split or 'protocol' in dataset:
        options.append(f'{KEY}.protocol=None')  # it belongs to the config's own lists
    for kind in ('labeled', 'unlabeled'):
        source = dataset.get(kind)
        if source is None and kind == 'unlabeled':  # a supervised-only config
            continue
        if not isinstance(source, dict) or not (by_split or 'ann_file' in source):
            raise SetupError(
                f'{config}: {KEY}.{kind} reads no list (ann_file), so {split} cannot replace it; '
                'compare configs whose images are listed'
            )
        path = lists / f'{kind}.txt'
        if not path.is_file():
            raise SetupError(
                f'split {split}: {lists} holds no {path.name}; mmseg-semi splits make|import '
                'writes it'
            )
        if 'ann_file' in source:
            options.append(f'{KEY}.{kind}.ann_file={path}')
    return options


# ------------------------------------------------------------------------------------- one run


def start(command: Sequence[str], log: Path) -> int:
    """Run a command of ``mmseg-semi`` in a process of its own, with one thread; its output is appended to ``log``.

    The process is forked from one that has imported the package and computed nothing, which saves the seconds of the
    imports.

    Returns:
        int: Its exit status, negative for a signal.
    """
    process = _server().Process(target=_run, args=(list(command), str(log)))
    process.start()
    process.join()
    return process.exitcode


@functools.cache
def _server() -> multiprocessing.context.ForkServerContext:
    """The context whose server has the environment and the imports of all runs."""
    os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')  # read when torch is imported
    # what asks for GPUs during the imports must not start CUDA, which no forked process could use
    os.environ['PYTORCH_NVML_BASED_CUDA_CHECK'] = '1'
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(_PRELOAD)
    return context


def _run(command: list[str], log: str) -> None:
    """In the new process: the command, its output in ``log``."""
    _end_with_parent()
    with open(log, 'a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(cli.main(command))


def _end_with_parent() -> None:
    """Ends this process when the server ends, which does when the study is killed.

    Else the run would go on, and the study's next start would train in the same folder. Only Linux can do this.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def settings_of(run: Run) -> dict:
    """What makes a run another one: config file, split, seed and options."""
    return dict(
        config=run.config, split=run.split, seed=run.seed, options=list(run.options), amp=run.amp
    )


def check(run: Run) -> None:
    """Refuse a run whose config or lists are not as they must be, or whose folder holds another run.

    A changed content of the config file is printed and noted nowhere else: a comment or a key that no run
    reads is no other run.

    Raises:
        SetupError: See :func:`options_of`; also if the folder holds a run with other settings.
    """
    options_of(run.config, run.split, run.seed)
    path = run.folder / 'settings.json'
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    content = found.pop('content', None)
    wanted = settings_of(run)
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        key = differing[0]
        raise SetupError(
            f'{run.folder} holds a run with {key}={found.get(key)!r}, but it is to be run with '
            f'{key}={wanted[key]!r}; remove the folder, or give the comparison another one'
        )
    if content != content_of(run):
        print(f'{run.folder}: {run.config} has changed since this run was started')


def content_of(run: Run) -> str:
    """SHA-256 of the config's keys, those of its bases included."""
    with _READING:
        cfg = configs.load_config(run.config).to_dict()
    return sha256(json.dumps(cfg, sort_keys=True, default=str).encode()).hexdigest()


def finish(run: Run, evaluation: Evaluation, keep: bool = True) -> dict:
    """Train and test one run; what is there already is not done again.

    A training that was interrupted is resumed from its last checkpoint.

    Args:
        run: The run.
        evaluation: What to evaluate after the training.
        keep: Whether to keep the checkpoints after the tests.

    Returns:
        dict: The summary of its ``results.json``.

    Raises:
        SetupError: If a process ends with an error; the message names the run and its log.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    done = run.folder / 'done.json'
    if not done.is_file():
        settings = run.folder / 'settings.json'
        if not settings.is_file():
            write_whole(settings, json.dumps({**settings_of(run), 'content': content_of(run)}))
        command = ['train', run.config, '--work-dir', str(run.folder), '--resume']
        command += ['--amp'] * run.amp + ['--cfg-options', *run.cfg_options]
        _start(run, command, run.folder / 'train.log')
        summary = json.loads((run.folder / 'results.json').read_text())['summary']
        write_whole(done, json.dumps(summary))
    if evaluation.pool and (split_folder(run.split) / 'unlabeled.txt').is_file():
        evaluate(run, 'pool', ['--pool'], evaluation.clips)
    if evaluation.by_clip:
        evaluate(run, 'test', ['--by-clip'], evaluation.clips)
    if not keep:
        for path in [*run.folder.glob('*.pth'), run.folder / 'last_checkpoint']:
            path.unlink(missing_ok=True)
    return json.loads(done.read_text())


def evaluate(run: Run, images: str, options: list[str], clips: str | None) -> None:
    """Evaluate the last and the best checkpoint of a run, if their scores are not there yet."""
    scored = [any(run.folder.glob(f'{images}_{kind}iter_*.json')) for kind in ('', 'best_*')]
    # a config without save_best has no best checkpoint; keep=False removes all after the tests
    if all(scored) or (scored[0] and not any(run.folder.glob('*.pth'))):
        return
    last = latest_checkpoint(run.folder)
    if last is None:
        raise SetupError(
            f'{run.name} has no checkpoint in {run.folder}, so it cannot be tested; remove the '
            'folder to train it again'
        )
    best = max(run.folder.glob('best_*.pth'), key=_iteration, default=last)
    for checkpoint in {last, best}:
        command = ['test', run.config, str(checkpoint), '--work-dir', str(run.folder), *options]
        command += ['--clips', clips] if clips else []
        scores = run.folder / f'{images}_{checkpoint.stem}.json'
        if scores.is_file():
            continue
        if checkpoint == best != last and _iteration(best) == _iteration(last):
            continue  # the same weights, copied below
        _start(run, [*command, '--cfg-options', *run.cfg_options], run.folder / 'test.log')
    if best != last and _iteration(best) == _iteration(last):
        scores = (run.folder / f'{images}_{last.stem}.json').read_text()
        write_whole(run.folder / f'{images}_{best.stem}.json', scores)


def _iteration(checkpoint: Path) -> int:
    found = re.search(r'iter_(\d+)$', checkpoint.stem)
    return int(found[1]) if found else -1


def _start(run: Run, command: list[str], log: Path) -> None:
    status = start(command, log)
    if status:
        lines = log.read_text(errors='replace').splitlines() if log.is_file() else []
        said = [line for line in lines if line.startswith('error: ')][-1:]
        raise SetupError(
            f'{run.name} ended with status {status}; see {log}'
            + ''.join(f', which says: {line.removeprefix("error: ")}' for line in said)
        )


# ------------------------------------------------------------------------------------- all runs


def finish_all(runs: Sequence[Run], jobs: int, evaluation: Evaluation, keep: bool = True) -> None:
    """:func:`finish` of every run, ``jobs`` of them at the same time.

    After an error no further run is started; those that have been started go on to their end.

    Raises:
        SetupError: If a run is refused before the first one starts, or ends with an error.
    """
    if jobs < 1:
        raise SetupError(f'--jobs {jobs}: expected at least 1')
    for run in runs:
        check(run)
    stopped = threading.Event()

    def attempt(run: Run) -> bool:
        if stopped.is_set():
            return False
        try:
            finish(run, evaluation, keep)
        except BaseException:
            stopped.set()
            raise
        return True

    errors = []
    with Progress() as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task('runs', total=len(runs))
        waiting = [pool.submit(attempt, run) for run in runs]
        try:
            for job in as_completed(waiting):
                if job.exception() is not None:
                    errors.append(job.exception())
                elif job.result():
                    progress.advance(task)
        except BaseException:  # an interrupt, which the started processes get, too
            stopped.set()
            raise
    if not errors:
        return
    unexpected = [error for error in errors if not isinstance(error, SetupError)]
    if unexpected:
        raise unexpected[0]
    others = f' ({len(errors) - 1} more runs failed)' if len(errors) > 1 else ''
    raise SetupError(f'{errors[0]}{others}; the same command goes on where it stopped')
