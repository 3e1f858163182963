"""Run the command of an input, and judge how it ended."""

import contextlib
import hashlib
import io
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .grammar import Case

LIMIT = 60
"""Seconds after which a command hangs."""

_FIXES = re.compile(
    r'\b(add|annotate|build|check|choose|convert|copy|correct|did you mean|download|draw|end|exchange|expected|export|fix|give|import|index|'
    r'install|keep|label|leave|lower|make|map|measure|merge|move|name|needs|override|put|raise|remove|rename|replace|restore|save|say|separate|set|store|take|'
    r'train|turn|unpack|unrecognized arguments|use|write|invalid (int|float) value|choose from)\b',
    re.IGNORECASE,
)
_RAW = re.compile(
    r'object at 0x|<class |Traceback|NoneType|\b(Key|Type|Value|Attribute|Index|Runtime|Assertion|Recursion)Error\b'
)
_LONGEST = 900


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        status: Its exit status; None if it hung.
        said: What it wrote to stderr.
        seconds: How long it took.
        changes: Files that it made, changed or removed.
        problems: What is wrong with this, in words; empty if nothing is.
    """

    status: int | None
    said: str
    seconds: float
    changes: list[str]
    problems: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The last line, which tells the mistake."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        return lines[-1] if lines else ''


def snapshot(folder: Path) -> dict[str, str]:
    """What lies below a folder: path -> digest of its content, or its kind."""
    found = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in [*folders, *files]:
            path = os.path.join(root, name)
            status = os.lstat(path)
            what = stat.filemode(status.st_mode)[0]
            if what == '-':
                with open(path, 'rb') as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            elif what == 'l':
                what = os.fsdecode(os.readlink(path))
            found[os.path.relpath(path, os.fsencode(folder)).decode(errors='backslashreplace')] = (
                what
            )
    return found


class Hung(BaseException):
    """The time is up."""


@contextlib.contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Raise :class:`Hung` in the block after so many seconds."""

    def ring(*_) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_here(case: Case) -> Outcome:
    """Run the command in this process."""
    from mmseg_semi import cli
    from mmseg_semi.runtime import devices

    before, said, argv, paths = snapshot(case.folder), io.StringIO(), sys.argv, list(sys.path)
    start, status = time.perf_counter(), None
    with (
        contextlib.chdir(case.folder),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            with alarm(LIMIT):
                status = cli.main(list(case.command)) or 0
        except SystemExit as end:
            status = end.code
        except Hung:
            pass
        except Exception as error:  # a process of its own would print its traceback
            status = 1
            said.write(f'Traceback: {type(error).__name__}: {error}\n')
        finally:
            sys.argv, sys.path[:] = argv, paths
            devices.end_workers()
    seconds = time.perf_counter() - start
    return judge(
        case, Outcome(status, said.getvalue(), seconds, differences(before, snapshot(case.folder)))
    )


def run_apart(case: Case) -> Outcome:
    """Run the command in a process of its own."""
    before = snapshot(case.folder)
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, '-m', 'mmseg_semi', *case.command],
        cwd=case.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, status = process.communicate(timeout=LIMIT)[1], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, status = process.communicate()[1], None
    seconds = time.perf_counter() - start
    text = said.decode(errors='replace')
    return judge(case, Outcome(status, text, seconds, differences(before, snapshot(case.folder))))


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was made (+), removed (-) or changed (!)."""
    made = [f'+{name}' for name in sorted(after.keys() - before.keys())]
    gone = [f'-{name}' for name in sorted(before.keys() - after.keys())]
    changed = [
        f'!{name}' for name in sorted(before.keys() & after.keys()) if before[name] != after[name]
    ]
    return made + gone + changed


def judge(case: Case, outcome: Outcome) -> Outcome:
    """Note what is wrong with how a command ended."""
    problems, sentence = outcome.problems, outcome.sentence
    if outcome.status is None:
        problems.append(f'it hung for {LIMIT} s')
        return outcome
    if outcome.status != 2:
        problems.append(f'exit status {outcome.status}, expected 2')
    if outcome.changes:
        problems.append(f'it wrote {", ".join(outcome.changes[:4])}')
    if 'Traceback' in outcome.said:
        problems.append('a traceback')
    told = [
        line for line in outcome.said.splitlines() if re.match(r'(mmseg-semi .*)?error: ', line)
    ]
    if len(told) != 1 or not re.match(r'(mmseg-semi .*)?error: ', sentence):
        problems.append(f'{len(told)} lines that begin with error:, expected one at the end')
    for wanted in case.says:
        there = wanted.search(sentence) if isinstance(wanted, re.Pattern) else wanted in sentence
        if not there:
            problems.append(f'it does not say {getattr(wanted, "pattern", wanted)!r}')
    if not _FIXES.search(sentence):
        problems.append('it does not say how to fix it')
    if _RAW.search(sentence):
        problems.append(f'it shows {_RAW.search(sentence)[0]!r}')
    if len(sentence) > _LONGEST:
        problems.append(f'it is {len(sentence)} letters long')
    return outcome
