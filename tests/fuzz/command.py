"""The command ``python tests/fuzz``."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import yapf.yapflib.yapf_api

from .grammar import make_case, slots
from .running import run_apart, run_here


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python tests/fuzz', description=__doc__)
    parser.add_argument('numbers', nargs='*', type=int, help='inputs to run')
    parser.add_argument('--all', action='store_true', help='run all of them')
    parser.add_argument('--here', action='store_true', help='in this process, which is faster')
    parser.add_argument(
        '--keep', type=Path, metavar='FOLDER', help='keep the inputs in this folder'
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)
    every = slots()
    failed = 0
    for number in range(len(every)) if args.all else args.numbers:
        folder = (
            Path(tempfile.mkdtemp(prefix=f'fuzz_{number}_'))
            if args.keep is None
            else args.keep / str(number)
        )
        folder.mkdir(parents=True, exist_ok=True)
        try:
            case = make_case(number, folder)
        except Exception as e:
            print('MAKE', number, every[number].name, repr(e))
            continue
        outcome = (run_here if args.here else run_apart)(case)
        if args.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        state = 'ok  ' if not outcome.problems else 'FAIL'
        print(
            f'{state} {number:3} {every[number].area}: {every[number].name} ({outcome.seconds:.1f} s)'
        )
        print(f'       {outcome.sentence[:1200]}')
        for problem in outcome.problems:
            print(f'     ! {problem}')
        sys.stdout.flush()
        failed += bool(outcome.problems)
    print(f'{failed} failed')
    return 1 if failed else 0
