"""The command ``python tests/fuzz``: runs bad inputs, each in a process of its own, and writes a table of them."""

import argparse
import datetime
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
import yapf.yapflib.yapf_api

from .grammar import Case, Kind, make_case, slots
from .ground import GROUNDS, sound_case
from .running import Outcome, run_apart, run_here

MARKS = '<!-- bad inputs: written by python tests/fuzz --all -->', '<!-- end of bad inputs -->'


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python tests/fuzz', description=__doc__)
    parser.add_argument('numbers', nargs='*', type=int, metavar='NUMBER', help='inputs to run')
    parser.add_argument('--all', action='store_true', help='run all of them')
    parser.add_argument('--here', action='store_true', help='in this process, which is faster')
    parser.add_argument(
        '--keep',
        type=Path,
        metavar='FOLDER',
        help='write the inputs into this folder, and leave them there',
    )
    parser.add_argument(
        '--write',
        type=Path,
        metavar='PAGE',
        help='put the table into this page, between its two marks',
    )
    args = parser.parse_args(arguments)
    if args.all == bool(args.numbers):
        parser.error('give numbers of inputs, or --all')
    if wrong := [n for n in args.numbers if not 0 <= n < len(slots())]:
        parser.error(f'{wrong[0]} is no input; there are 0 to {len(slots()) - 1}')
    if args.write and not (args.all and all(mark in args.write.read_text() for mark in MARKS)):
        parser.error(f'--write needs --all, and a page with the lines {MARKS[0]} and {MARKS[1]}')
    return args


@contextmanager
def folder_of(number: int | str, keep: Path | None) -> Iterator[Path]:
    """An empty folder for an input."""
    folder = Path(tempfile.mkdtemp(prefix='fuzz_')) if keep is None else keep / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if keep is None:
        shutil.rmtree(folder)


def check_grounds(keep: Path | None) -> list[str]:
    """Names of projects that are refused though nothing is wrong with them."""
    refused = []
    for name in GROUNDS:
        with folder_of(name, keep) as folder:
            outcome = run_apart(sound_case(name, folder))
        if outcome.status != 0:
            refused.append(name)
        print(
            f'{"ok  " if outcome.status == 0 else "FAIL"} without a mistake: {name} ({outcome.seconds:.1f} s)',
            flush=True,
        )
    return refused


def show(number: int, kind: Kind, outcome: Outcome) -> None:
    """Print an input and how its command ended."""
    state = 'FAIL' if outcome.problems else 'ok  '
    print(f'{state} {number:3} {kind.area}: {kind.name} ({outcome.seconds:.1f} s)')
    print(f'       {outcome.sentence}')
    for problem in outcome.problems:
        print(f'     ! {problem}', flush=True)


def run(case: Case, here: bool) -> Outcome:
    """Run the command of an input."""
    return run_here(case) if here else run_apart(case)


def table(found: dict[int, Outcome]) -> str:
    """The outcomes by area, in Markdown."""
    every = slots()
    lines = [
        '| made in | kinds | inputs | longest, s | not as it must be |',
        '|---|---|---|---|---|',
    ]
    areas = dict.fromkeys(kind.area for kind in every)
    for area in areas:
        of = {n: outcome for n, outcome in found.items() if every[n].area == area}
        if not of:
            continue
        kinds = len({every[n] for n in of})
        lines.append(_row(area, kinds, list(of.values())))
    lines.append(_row('all', len(set(every)), list(found.values())))
    return '\n'.join(lines)


def _row(name: str, kinds: int, outcomes: list[Outcome]) -> str:
    longest = max(outcome.seconds for outcome in outcomes)
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    return f'| {name} | {kinds} | {len(outcomes)} | {longest:.0f} | {failed} |'


def circumstances(here: bool) -> str:
    """When, on what and how the inputs were run."""
    today = datetime.date.today()
    versions = ', '.join(
        f'{name} {version(name)}'
        for name in ('onedl-mmengine', 'onedl-mmsegmentation', 'numpy', 'pillow')
    )
    how = (
        'All in one process (`--here`).'
        if here
        else 'Times are of whole processes, most of it their imports.'
    )
    return (
        f'The last complete run: {today.day} {today:%B %Y}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, '
        f'torch {torch.__version__}, {versions}. {how}'
    )


def write(page: Path, text: str) -> None:
    """Put a text between the two marks of a page."""
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f'{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}')


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    # laying a config out prettily takes longer than all else
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)
    refused = check_grounds(args.keep) if args.all and not args.here else []
    every, found = slots(), {}
    for number in range(len(every)) if args.all else args.numbers:
        with folder_of(number, args.keep) as folder:
            found[number] = run(make_case(number, folder), args.here)
        show(number, every[number], found[number])
    failed = sum(bool(outcome.problems) for outcome in found.values())
    text = f'{circumstances(args.here)}\n\n{table(found)}'
    print(f'\n{text}\n\n{failed} of {len(found)} inputs are not as they must be')
    if args.write:
        write(args.write, text)
    return 1 if failed or refused else 0
