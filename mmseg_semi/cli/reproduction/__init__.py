"""Write docs/reproduction.md, the ledger of constants: paper, released code, and both of our profiles.

What papers and released code say stands in ``constants/*.yaml`` beside this file; what ours say is read from the configs. The
command refuses to write a page that does not hold: :class:`.ledger.Ledger` says when.

    python tools/reproduction.py
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from mmseg_semi.cli.common import CHECKOUT, tool
from mmseg_semi.cli.reproduction.ledger import Ledger, Row, Table, read_ledgers
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime.configs import load_config

OUT = CHECKOUT / 'docs/reproduction.md'

INTRODUCTION = """# Constants

Which numbers and choices of each method are the paper's, which the released code's, and which ours. This page is generated:
`python tools/reproduction.py` writes it from the resolved configs. A test fails if a config changes one of the values, or if a row
that differs from paper or code has no reason.

- **Plain** is the config in the method's own folder, **reference** computes what the released code computes, **published** has the
  method's own constants on a small data set. Values that a config leaves out are the defaults of the class that reads them.
- **Paper**: a dash means that the sources at hand do not say. Each section names them.
- **Released code**: numbers in brackets are the sources below each section. A dash means that the code has no such constant, or that
  it was not released.
- **Bold** is what differs from the released code. Why it does, and what else is worth knowing, is in the last column.
- Sizes are height × width in pixels, batches are labelled + unlabelled images on a GPU. An epoch is one pass over the unlabelled
  images.
"""


def reproduction(load: Callable[[Path], Config] | None = None) -> str:
    """Text of docs/reproduction.md.

    Args:
        load: Reads a config; by default the loader that trainings use.

    Raises:
        SetupError: The ledger does not hold; all reasons are named.
    """
    ledgers = read_ledgers(load or functools.cache(_load))
    problems = [problem for ledger in ledgers for problem in ledger.problems]
    if problems:
        raise SetupError(
            f'the ledger of constants does not hold ({len(problems)}): {"; ".join(problems)}; correct the config, or '
            'mmseg_semi/cli/reproduction/constants'
        )
    return '\n'.join(part.rstrip('\n') + '\n' for part in [INTRODUCTION, *map(section, ledgers)])


def _load(path: Path) -> Config:
    return load_config(path, with_model=False)


def section(ledger: Ledger) -> str:
    """A method's part of the page."""
    parts = [
        f'## {ledger.title}',
        f'Paper: {ledger.paper}. Released code: {ledger.code}. Ours: [{ledger.title}]({ledger.readme}).',
    ]
    for table in ledger.tables:
        configs = ', '.join(
            f'{profile}: [configs/{path}](../configs/{path})'
            for profile, path in table.profiles.items()
        )
        parts.append(f'### {ledger.title}, {table.title}\n\n{configs}\n\n{_table(table)}')
    # no "[1]: text", which Markdown reads as a link's address
    sources = '\n'.join(f'{number}. {text}' for number, text in enumerate(ledger.sources, 1))
    parts.append(f'Sources:\n\n{sources}' if sources else '')
    return '\n\n'.join(part for part in parts if part)


def _table(table: Table) -> str:
    heads = ['Constant', 'Paper', 'Released code', *(f'Ours, {name}' for name in table.profiles)]
    lines = [[*heads, 'Why'], ['---'] * (len(heads) + 1), *map(_cells, table.rows)]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def _cells(row: Row) -> list[str]:
    def marked(text: str | None, marks: tuple[int, ...]) -> str:
        return '–' if text is None else ' '.join([text, *(f'[{number}]' for number in marks)])

    def ours(text: str | None) -> str:
        if text is None:
            return '–'
        return f'**{text}**' if row.code is not None and text != row.code else text

    cells = [row.constant, marked(row.paper, row.paper_marks), marked(row.code, row.code_marks)]
    cells += map(ours, row.ours.values())
    return [' '.join(cell.split()).replace('|', '\\|') for cell in [*cells, row.why]]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the ledger of constants (docs/reproduction.md): paper, released code, configs.'
    )
    parser.add_argument('--out', type=Path, help='default docs/reproduction.md of the checkout')
    parser.add_argument(
        '--check', action='store_true', help='write nothing; fail if the file is not up to date'
    )
    return parser.parse_args(argv)


@tool
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    out = args.out or OUT
    if args.out is None and not OUT.parent.is_dir():
        raise SetupError(
            f"there is no folder '{OUT.parent}' outside of a checkout: give --out FILE"
        )
    text = reproduction()
    if not args.check:
        write_whole(out, text)
        print(f'wrote {out}')
    elif not out.is_file() or out.read_text(encoding='utf-8') != text:
        raise SetupError(
            f'{out} is not what ledger and configs say: run python tools/reproduction.py'
        )
    else:
        print(f'{out} is up to date')


if __name__ == '__main__':
    main()
