"""Observe a training for a long time: do memory, open files, temporary files, threads or the time of an iteration grow?

mmseg-semi long-run [CONFIG] [--time 30m] [--json OUT] [--work-dir DIR] [--cfg-options ...]

The training is a process of its own and is looked at from outside, by /proc (Linux). It goes on in DIR/run if there is one, and
ends after the time with a checkpoint. The first tenth of the observations is left out as warm-up; of the rest, the last third
is compared with the first third. The exit status is 1 if a quantity has grown.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mmseg_semi.cli.analysis.crash_test import circumstances
from mmseg_semi.cli.analysis.small_runs import small_run
from mmseg_semi.cli.analysis.trainings import Command
from mmseg_semi.cli.common import CONFIG_HELP, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import DRAFT, write_whole
from mmseg_semi.runtime.stopping import parse_time
from mmseg_semi.runtime.tables import markdown_table

WARM_UP = 0.1
"""Share of the observations that is left out."""

_SAMPLES = 240
_WHERE = Path('/proc')


@dataclass(frozen=True)
class Sample:
    """A training at one moment; what counts processes counts the main one and its workers."""

    seconds: float
    iteration: int
    memory: float
    """MiB of resident memory."""
    files: int
    """Open files, sockets and pipes among them."""
    threads: int
    processes: int
    temporary: int
    """Files and folders in its temporary folder, and drafts in its work folder."""
    disk: float
    """MiB of its work folder."""
    step: float | None
    """Seconds of an iteration, the median since the sample before; None if none was logged."""
    processor: float | None
    """Seconds of the processor an iteration since then, with its share of validations and checkpoints; other programs on the
    machine hardly change it."""


@dataclass(frozen=True)
class Quantity:
    """What is judged of the samples.

    Args:
        name: With its unit.
        tolerance: Growth that is none: a share of the value.
        least: Likewise, in the unit.
    """

    name: str
    tolerance: float
    least: float


QUANTITIES = {
    'memory': Quantity('resident memory, MiB', 0.03, 8),
    'files': Quantity('open files', 0, 1.5),
    'threads': Quantity('threads', 0, 1.5),
    'processes': Quantity('processes', 0, 0.5),
    'temporary': Quantity('temporary files', 0, 1.5),
    'step': Quantity('seconds an iteration', 0.15, 0),
    'processor': Quantity('processor seconds an iteration', 0.1, 0),
}


# -- judging ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """A quantity over the samples behind the warm-up."""

    name: str
    begin: float
    """Median of the first third."""
    end: float
    """Median of the last third."""
    highest: float
    slope: float
    """Change an hour, by the line of least squares."""
    grows: bool


def judge(samples: Sequence[Sample]) -> list[Finding]:
    """Compare the last third of the samples with the first, behind the warm-up.

    Args:
        samples: In the order of time, at least ten.

    Returns:
        One for each of :data:`QUANTITIES` that was observed.

    Raises:
        SetupError: There are too few.
    """
    if len(samples) < 10:
        raise SetupError(
            f'{len(samples)} observations are too few to compare; give a longer --time'
        )
    kept = samples[int(len(samples) * WARM_UP) :]
    found = []
    for key, quantity in QUANTITIES.items():
        points = [(s.seconds, float(v)) for s in kept if (v := getattr(s, key)) is not None]
        third = len(points) // 3
        if not third:
            continue
        values = [value for _, value in points]
        begin, end = statistics.median(values[:third]), statistics.median(values[-third:])
        slope = statistics.linear_regression(*zip(*points, strict=True)).slope * 3600
        grows = end - begin > max(quantity.least, quantity.tolerance * begin)
        found.append(Finding(quantity.name, begin, end, max(values), slope, grows))
    return found


def report(samples: Sequence[Sample], findings: Sequence[Finding]) -> str:
    """The table, and what it says."""
    rows = [
        [
            f.name,
            *(f'{value:.4g}' for value in (f.begin, f.end, f.highest)),
            f'{f.slope:+.3g}',
            'grows' if f.grows else 'no',
        ]
        for f in findings
    ]
    head = ['', 'first third', 'last third', 'highest', 'change an hour', 'grows']
    first, last = samples[0], samples[-1]
    hours = (last.seconds - first.seconds) / 3600
    growing = [f.name for f in findings if f.grows]
    verdict = f'{", ".join(growing)} grew' if growing else 'nothing grew'
    return '\n'.join(
        [
            markdown_table(head, rows),
            '',
            f'{last.iteration - first.iteration} iterations in {hours:.2f} hours, {len(samples)} observations: {verdict}. '
            f'The work folder went from {first.disk:.1f} to {last.disk:.1f} MiB, with its logs.',
        ]
    )


# -- observing -------------------------------------------------------------------------------------


class Observer:
    """Looks at a training.

    Args:
        pid: Of its main process.
        work_dir: Of the run.
        temporary: Its temporary folder.
    """

    def __init__(self, pid: int, work_dir: Path, temporary: Path) -> None:
        self.pid, self.work_dir, self.temporary = pid, work_dir, temporary
        self._began = time.monotonic()
        self._log: Path | None = None
        self._read = 0
        self.iteration = 0
        self._used: tuple[int, float] | None = None

    def sample(self) -> Sample:
        """The training as it is now.

        Raises:
            OSError: It has ended.
        """
        tree = [self.pid, *descendants(self.pid)]
        steps = self._steps()
        return Sample(
            seconds=round(time.monotonic() - self._began, 1),
            iteration=self.iteration,
            memory=round(sum(map(_resident, tree)) / 2**20, 1),
            files=sum(len(_listed(_WHERE / str(pid) / 'fd')) for pid in tree),
            threads=sum(len(_listed(_WHERE / str(pid) / 'task')) for pid in tree),
            processes=len(tree),
            temporary=sum(1 for _ in self.temporary.rglob('*'))
            + sum(1 for _ in self.work_dir.glob(f'.*{DRAFT}')),
            disk=round(_size(self.work_dir) / 2**20, 2),
            step=statistics.median(steps) if steps else None,
            processor=self._processor(sum(map(_processor_time, tree))),
        )

    def _processor(self, used: float) -> float | None:
        before, self._used = self._used or (self.iteration, used), (self.iteration, used)
        done = self.iteration - before[0]
        if not done:
            self._used = before
            return None
        return (used - before[1]) / done

    def _steps(self) -> list[float]:
        """Seconds of the iterations that were logged since the last call."""
        logs = sorted(self.work_dir.glob('*/vis_data/scalars.json'))
        if not logs:
            return []
        if logs[-1] != self._log:
            self._log, self._read = logs[-1], 0
        with open(self._log, encoding='utf-8') as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind('\n') + 1]
        self._read += len(whole.encode())
        entries = [json.loads(line) for line in whole.splitlines() if line.strip()]
        training = [entry for entry in entries if 'iter' in entry and 'time' in entry]
        if training:
            self.iteration = int(training[-1]['iter'])
        return [float(entry['time']) for entry in training]


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    found = []
    for thread in _listed(_WHERE / str(pid) / 'task'):
        try:
            children = (thread / 'children').read_text().split()
        except OSError:  # ended meanwhile
            continue
        for child in map(int, children):
            found += [child, *descendants(child)]
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # a worker that has ended meanwhile
        return []


def _resident(pid: int) -> int:
    """Bytes of a process in memory; what it shares with others counts in each of them."""
    try:
        pages = int((_WHERE / str(pid) / 'statm').read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf('SC_PAGE_SIZE')


def _processor_time(pid: int) -> float:
    """Seconds that a process has computed, with those of its children that have ended."""
    try:
        text = (_WHERE / str(pid) / 'stat').read_text()
    except OSError:
        return 0.0
    # behind the name, which may hold anything: utime, stime, cutime, cstime
    return sum(map(int, text.rpartition(')')[2].split()[11:15])) / os.sysconf('SC_CLK_TCK')


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob('*'):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # renamed or removed meanwhile
            continue
    return total


def observe(
    start: Callable[[Path], Command],
    folder: Path,
    seconds: float,
    note: Callable[[Sample], None] = lambda sample: None,
) -> list[Sample]:
    """Start a training, observe it, and end it.

    Args:
        start: Starts or resumes a training in a folder.
        folder: The work folder is ``run`` in it.
        seconds: Time from its first logged iteration on.
        note: Takes each sample.

    Raises:
        SetupError: It ended by itself with another status than 0, or was not ended by SIGTERM as it must be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work_dir = folder / 'run'
    # not below the work folder, whose path may be too long for the sockets of workers
    temporary = Path(tempfile.mkdtemp(prefix='long'))
    before = os.environ.get('TMPDIR')
    os.environ['TMPDIR'] = str(temporary)
    try:
        training = start(work_dir)
    finally:
        del os.environ['TMPDIR']
        if before is not None:
            os.environ['TMPDIR'] = before
    try:
        return _observe(training, work_dir, temporary, seconds, note)
    finally:
        if training.is_alive():
            training.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def _observe(
    training: Command,
    work_dir: Path,
    temporary: Path,
    seconds: float,
    note: Callable[[Sample], None],
) -> list[Sample]:
    observer = Observer(training.process.pid, work_dir, temporary)
    samples: list[Sample] = []
    while training.is_alive():
        sample = observer.sample()
        if sample.step is not None or samples:
            samples.append(sample)
            note(sample)
            if sample.seconds - samples[0].seconds >= seconds:
                break
        time.sleep(max(0.5, seconds / _SAMPLES) if samples else 0.2)
    if training.is_alive():
        training.process.terminate()
    training.join()
    # torch's cache of compiled code is one folder a user, and stays on purpose
    left = [path.name for path in temporary.iterdir() if not path.name.startswith('torchinductor')]
    expected = (0, 143)
    if training.exitcode not in expected or left:
        raise SetupError(
            f'the training ended with exit status {training.exitcode}, expected one of {expected}, and left '
            f'{", ".join(left) or "nothing"} in its temporary folder; see {work_dir}.log'
        )
    return samples


@tool
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        'config', nargs='?', help=f'{CONFIG_HELP}; default a small run on generated scenes'
    )
    parser.add_argument('--time', default='30m', metavar='DURATION', help='90m, 24h; default 30m')
    parser.add_argument('--json', metavar='OUT', help='write all observations, after each of them')
    parser.add_argument('--work-dir', default='work_dirs/long_run', help='folder of the run')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py'
    )
    args = parser.parse_args(arguments)
    seconds = parse_time(args.time)
    if not (_WHERE / 'self' / 'statm').is_file():
        raise SetupError('/proc is missing, by which a process is observed; run this on Linux')
    folder, config, options = Path(args.work_dir), args.config, []
    if config is None:
        config, options = small_run(folder, iterations=10_000_000)
        options += [
            *('train_cfg.val_interval=200', 'default_hooks.checkpoint.interval=200'),
            'default_hooks.checkpoint.max_keep_ckpts=2',
            # one that lives as long as the run, and one that every validation starts anew
            *('train_dataloader.num_workers=1', 'train_dataloader.persistent_workers=True'),
            'val_dataloader.num_workers=1',
        ]
    options += args.cfg_options
    about = dict(config=config, options=args.cfg_options, **circumstances())
    noted: list[dict] = []

    def note(sample: Sample) -> None:
        noted.append(asdict(sample))
        if args.json:
            content = json.dumps({**about, 'samples': noted}) + '\n'
            write_whole(args.json, content, sync=False)

    samples = observe(lambda work_dir: Command(config, work_dir, options), folder, seconds, note)
    findings = judge(samples)
    print(report(samples, findings))
    sys.exit(1 if any(finding.grows for finding in findings) else 0)
