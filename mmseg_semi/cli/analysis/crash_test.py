"""Kill a training at random moments and check that it always resumes from a complete checkpoint.

mmseg-semi crash-test [CONFIG] [--kills 20] [--seed 0] [--json OUT] [--work-dir DIR]
[--cfg-options ...]

The config, by default a small one on generated scenes, is trained once without interruption in DIR/whole. Then it is trained in
DIR/killed with --resume, and SIGKILL ends this training again and again: every other time at a random moment, else while it
writes a checkpoint or just after. After each kill, all checkpoints must load and the newest one must not be older than before.
A training that reaches its end must have the same weights, optimisers and losses bit for bit, and another one begins.

With --json, parts of a long test are added up: call the command again with another seed.

Choose a checkpoint interval of one or two iterations, so that saving takes much of the time.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mmseg_semi.cli.analysis.small_runs import small_run
from mmseg_semi.cli.analysis.trainings import Command, Forked, Training, circumstances
from mmseg_semi.cli.common import CONFIG_HELP, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import DRAFT, write_whole
from mmseg_semi.runtime.checkpoints import latest_checkpoint

STATE = ('state_dict', 'optimizer', 'flow_optimizers', 'param_schedulers')
KILLS_A_TRAINING = 15
"""A training is killed about so many times before it reaches its end and another one begins."""

COUNTS = ('kills', 'in_saving', 'anew', 'finished')


class Lost(Exception):
    """A kill cost more than the iterations since the last checkpoint."""


def crash_test(
    start: Callable[[Path], Training],
    folder: Path,
    times: int = 20,
    seed: int = 0,
    report: Callable[[str], None] = print,
    note: Callable[[dict[str, int]], None] = lambda counts: None,
) -> dict[str, int]:
    """Train once without and once with kills.

    Args:
        start: Starts a training in a folder, or resumes the one there.
        folder: Folder of both runs; earlier runs in it are removed.
        times: Number of kills. A training that ends earlier begins anew.
        seed: Seed of the moments.
        report: Takes one line for each event.
        note: Takes what has been counted after each kill.

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
    first = time.monotonic() - began
    saving = _time_of_saving(training, whole)
    _finish(training)
    duration = time.monotonic() - began
    expected = read(latest_checkpoint(whole))
    report(
        f'uninterrupted: {duration:.1f} s, {iteration(expected)} iterations, {1000 * saving:.0f} ms a checkpoint'
    )
    # the kills spread over about one training, with the time of its starts
    longest = 2 * (first + (duration - first) / max(1, min(times, KILLS_A_TRAINING)))

    counts = dict.fromkeys(COUNTS, 0)
    newest = 0
    while counts['kills'] < times:
        training, began = _started(start, killed)
        drafts = _drafts(killed)
        delay = rng.uniform(0, longest)
        if counts['kills'] % 2 == 1:
            _sleep(delay / 2, training)
            _wait(lambda t=training, d=drafts: _drafts(killed) - d or not t.is_alive(), 1e-4)
            # a random time after the draft appears, so that every part of a save is hit, and what follows it
            delay = rng.uniform(0, 1.25 * saving)
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
        hit = bool(_drafts(killed) - drafts)
        counts['in_saving'] += hit
        newest = _check_folder(killed, newest)
        counts['anew'] += newest == 0
        report(
            f'kill {counts["kills"]}: newest complete checkpoint of iteration {newest}'
            + (', in the middle of saving' if hit else '')
        )
        note(counts)
    if times:
        _finish(start(killed))
        _check_end(killed, expected)
        counts['finished'] += 1
        note(counts)
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
    before = set(work_dir.glob('*/*.log'))
    training = start(work_dir)
    _wait(lambda: set(work_dir.glob('*/*.log')) - before or not training.is_alive())
    return training, time.monotonic()


def _drafts(work_dir: Path) -> set[str]:
    """Names of the drafts there, whose numbers are those of their processes."""
    return {path.name for path in work_dir.glob(f'.*{DRAFT}')}


def _time_of_saving(training: Training, work_dir: Path) -> float:
    """Seconds for which the draft of a checkpoint is there, the median of a training; waits for its end."""
    times, began = [], None
    while training.is_alive():
        there = any('.pth.' in name for name in _drafts(work_dir))
        now = time.monotonic()
        if there and began is None:
            began = now
        elif not there and began is not None:
            times.append(now - began)
            began = None
        time.sleep(1e-4)
    return statistics.median(times) if times else 0.02


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


# -- parts of a long test --------------------------------------------------------------------------


def read_parts(path: Path) -> list[dict[str, Any]]:
    """The parts in a file of ``--json``; none without the file.

    Raises:
        SetupError: It holds something else.
    """
    if not path.is_file():
        return []
    try:
        parts = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(parts, list):
            raise TypeError(f'a {type(parts).__name__}')
        sum_of(parts)
    except (ValueError, TypeError, KeyError) as error:
        raise SetupError(
            f'--json {path} was not written by this command ({error}); name another file'
        ) from error
    return parts


def sum_of(parts: list[dict[str, Any]]) -> dict[str, int]:
    """The counts of all parts together.

    Example:
        >>> part = dict(kills=10, in_saving=4, anew=1, finished=2)
        >>> sum_of([part, part])
        {'kills': 20, 'in_saving': 8, 'anew': 2, 'finished': 4}
    """
    return {key: sum(part[key] for part in parts) for key in COUNTS}


def said(counts: Mapping[str, int]) -> str:
    """The outcome in a sentence."""
    return (
        f'{counts["kills"]} kills, {counts["in_saving"]} of them in the middle of saving and {counts["anew"]} before the first '
        f'checkpoint: always a complete checkpoint; {counts["finished"]} trainings reached their end, with the same state as '
        'without a kill, bit for bit'
    )


@tool
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        'config', nargs='?', help=f'{CONFIG_HELP}; default a small run on generated scenes'
    )
    parser.add_argument(
        '--kills', '--times', type=int, default=20, help='default 20; 0 shows the sum of --json'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the random moments; default 0')
    parser.add_argument(
        '--json', metavar='OUT', help='add this part to those of other seeds in this file'
    )
    parser.add_argument('--work-dir', default='work_dirs/crash_test', help='folder of both runs')
    parser.add_argument(
        '--new-interpreters',
        action='store_true',
        help='start each training as a user does, instead of forking it from a process that has imported the package',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py'
    )
    args = parser.parse_args(arguments)
    parts = read_parts(Path(args.json)) if args.json else []
    if args.kills and any(part['seed'] == args.seed for part in parts):
        raise SetupError(
            f'--json {args.json} has a part of --seed {args.seed}, whose moments would come again; give another seed'
        )
    if args.kills:
        parts.append(_part(args, parts))
    print(said(sum_of(parts)))


def _part(args: argparse.Namespace, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Run one part; after each kill it stands in the file."""
    folder, config, options = Path(args.work_dir), args.config, []
    if config is None:
        config, options = small_run(folder, iterations=60)
        options.append('default_hooks.checkpoint.interval=1')
    options += args.cfg_options
    way = Command if args.new_interpreters else Forked
    part = dict(seed=args.seed, config=config, options=args.cfg_options, **circumstances())
    began = time.monotonic()

    def note(counts: dict[str, int]) -> None:
        part.update(counts, minutes=round((time.monotonic() - began) / 60, 1))
        if args.json:
            write_whole(args.json, json.dumps([*before, part], indent=1) + '\n', sync=False)

    try:
        crash_test(
            lambda work_dir: way(config, work_dir, options),
            folder,
            args.kills,
            args.seed,
            lambda line: print(line, flush=True),
            note,
        )
    except Lost as error:
        sys.exit(f'failed: {error}; the log is {args.work_dir}/killed.log')
    return part
