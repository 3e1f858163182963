"""Kill a training at random moments and check that it always resumes from a complete checkpoint.

mmseg-semi crash-test CONFIG [--times 20] [--seed 0] [--work-dir DIR] [--cfg-options
...]

The config is trained once without interruption in DIR/whole. Then it is trained in DIR/killed by
``tools/train.py --resume``, and SIGKILL ends this training again and again: every other time at a
random moment, else at a random moment after it begins to write a checkpoint. After each kill, all
checkpoints must load and the newest one must not be older than before. At last the training runs to
its end and must reach the same weights, optimisers and losses bit for bit.

Choose a checkpoint interval of one or two iterations, so that saving takes much of the time.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from mmseg_semi.cli.common import CONFIG_HELP, TRAIN, tool
from mmseg_semi.files import DRAFT
from mmseg_semi.runtime.checkpoints import latest_checkpoint

STATE = ('state_dict', 'optimizer', 'flow_optimizers', 'param_schedulers')


class Lost(Exception):
    """A kill cost more than the iterations since the last checkpoint."""


class Training(Protocol):
    """A running training, such as a ``multiprocessing.Process``."""

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...

    def join(self) -> None: ...

    @property
    def exitcode(self) -> int | None: ...


class Command:
    """``tools/train.py --resume`` in its own process group, which is killed with all its processes.

    Args:
        config: A config file.
        work_dir: Folder of the run.
        options: Values of ``--cfg-options``.
    """

    def __init__(self, config: str | Path, work_dir: Path, options: list[str]) -> None:
        command = [*TRAIN, config, '--work-dir', work_dir]
        command += ['--resume', *(['--cfg-options', *options] if options else [])]
        with open(f'{work_dir}.log', 'a') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def join(self) -> None:
        self.process.wait()

    @property
    def exitcode(self) -> int | None:
        return self.process.poll()


def crash_test(
    start: Callable[[Path], Training],
    folder: Path,
    times: int = 20,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> dict[str, int]:
    """Train once without and once with kills.

    Args:
        start: Starts a training in a folder, or resumes the one there.
        folder: Folder of both runs; earlier runs in it are removed.
        times: Number of kills. A training that ends earlier begins anew.
        seed: Seed of the moments.
        report: Takes one line for each event.

    Returns:
        ``kills``, ``in_saving`` (kills that left a draft), ``anew`` (kills before the first
        checkpoint) and ``finished`` (trainings that reached their end).

    Raises:
        Lost: If a checkpoint is damaged, lost or older than before; if a training ends with an
            error, or with other weights, optimisers or losses than the uninterrupted one.
    """
    rng = random.Random(seed)
    whole, killed = folder / 'whole', folder / 'killed'
    for path in (whole, killed):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    training, began = _started(start, whole)
    _wait(lambda: any(whole.glob('*.pth')) or not training.is_alive())
    first = time.time() - began
    _finish(training)
    duration = time.time() - began
    expected = read(latest_checkpoint(whole))
    report(f'uninterrupted: {duration:.1f} s, {iteration(expected)} iterations')

    counts = dict(kills=0, in_saving=0, anew=0, finished=0)
    newest = 0
    while counts['kills'] < times:
        training, began = _started(start, killed)
        # the kills spread over about one training, with the time of its starts
        delay = rng.uniform(0, 2 * (first + (duration - first) / times))
        if counts['kills'] % 2 == 1:
            _sleep(delay / 2, training)
            _wait(lambda t=training, b=began: _saving(killed, b) or not t.is_alive(), 1e-4)
            # a random time after the draft appears, so that every part of a save is hit
            delay = rng.uniform(0, 0.03)
        _sleep(delay, training)
        if not training.is_alive():
            _finish(training)
            _check_end(killed, expected)
            counts['finished'] += 1
            report('reached its end before the kill, with the same state; begins anew')
            shutil.rmtree(killed)
            newest = 0
            continue
        training.kill()
        training.join()
        counts['kills'] += 1
        hit = _saving(killed, began)
        counts['in_saving'] += hit
        newest = _check_folder(killed, newest)
        counts['anew'] += newest == 0
        report(
            f'kill {counts["kills"]}: newest complete checkpoint of iteration {newest}'
            + (', in the middle of saving' if hit else '')
        )
    _finish(start(killed))
    _check_end(killed, expected)
    counts['finished'] += 1
    return counts


def read(path: Path) -> dict[str, Any]:
    """Load all records of a checkpoint."""
    return torch.load(path, map_location='cpu', weights_only=True)


def iteration(checkpoint: Mapping[str, Any]) -> int:
    """The iteration of a checkpoint."""
    return checkpoint['meta']['iter']


def _check_folder(work_dir: Path, newest: int) -> int:
    """Load all checkpoints of a run; returns the iteration of the newest one."""
    for path in work_dir.glob('*.pth'):
        read(path)
    latest = latest_checkpoint(work_dir)
    if latest is None and newest:
        raise Lost(f'no checkpoint is left, there was one of iteration {newest}')
    found = 0 if latest is None else iteration(read(latest))
    if found < newest:
        raise Lost(f'the newest checkpoint is of iteration {found}, it was of {newest}')
    return found


def _check_end(work_dir: Path, expected: Mapping[str, Any]) -> None:
    found = read(latest_checkpoint(work_dir))
    if iteration(found) != iteration(expected):
        raise Lost(f'the end is iteration {iteration(found)}, not {iteration(expected)}')
    for key in STATE:
        if not same(found.get(key), expected.get(key)):
            raise Lost(f'another {key} at the end')
    for name, history in expected['message_hub']['log_scalars'].items():
        if 'loss' in name and not same(history, found['message_hub']['log_scalars'].get(name)):
            raise Lost(f'another history of {name}')


def same(one: Any, other: Any) -> bool:
    """Equality of plain data, tensors bit for bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def _started(start: Callable[[Path], Training], work_dir: Path) -> tuple[Training, float]:
    """Start a training and wait until it opens its log; returns it and the time."""
    before = time.time()
    training = start(work_dir)
    _wait(
        lambda: (
            any(log.stat().st_mtime > before for log in work_dir.glob('*/*.log'))
            or not training.is_alive()
        )
    )
    return training, time.time()


def _saving(work_dir: Path, since: float) -> bool:
    """Whether there is a draft that is no leftover of an earlier kill."""
    for path in work_dir.glob(f'*{DRAFT}'):
        try:
            if path.stat().st_mtime > since:
                return True
        except FileNotFoundError:  # renamed in the meantime
            pass
    return False


def _finish(training: Training) -> None:
    training.join()
    if training.exitcode != 0:
        raise Lost(f'a training ended with exit status {training.exitcode}')


def _wait(condition: Callable[[], bool], pause: float = 0.01) -> None:
    while not condition():
        time.sleep(pause)


def _sleep(seconds: float, training: Training) -> None:
    end = time.monotonic() + seconds
    _wait(lambda: time.monotonic() >= end or not training.is_alive(), 1e-3)


@tool
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config', help=CONFIG_HELP)
    parser.add_argument('--times', type=int, default=20, help='kills; default 20')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random moments; default 0')
    parser.add_argument('--work-dir', default='work_dirs/crash_test', help='folder of both runs')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py'
    )
    args = parser.parse_args(arguments)
    try:
        counts = crash_test(
            lambda work_dir: Command(args.config, work_dir, args.cfg_options),
            Path(args.work_dir),
            args.times,
            args.seed,
            lambda line: print(line, flush=True),
        )
    except Lost as error:
        sys.exit(f'failed: {error}; the log is {args.work_dir}/killed.log')
    print(
        f'{counts["kills"]} kills, {counts["in_saving"]} of them in the middle of saving: always a '
        'complete checkpoint, and at the end the same state as without a kill, bit for bit'
    )
