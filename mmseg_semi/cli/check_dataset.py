"""Check all images and masks before training: broken files, unusual labels, duplicates.

Prints tables and writes report.json and index.html (with pictures) into --out. The exit status is 1
if there are errors, and 0 if there are only warnings. Masks of unlabelled images are not opened.

Examples:
    mmseg-semi check-dataset mmseg_semi::fixmatch/camvid_46_small.py
    mmseg-semi check-dataset --labeled my/images my/masks --unlabeled my/more --num-classes 5
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mmseg_semi.cli.common import PROJECT_CONFIG, add_options_argument, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.inspection import (
    ERROR,
    WARNING,
    Report,
    Source,
    folder_source,
    inspect,
    sources_of,
)
from mmseg_semi.preparing.inspection_page import size_words, write_page
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.pages import share_words


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config',
        nargs='?',
        help=f'a config file; its train, val and test data; default {PROJECT_CONFIG} of this folder',
    )
    parser.add_argument(
        '--labeled', nargs=2, type=Path, metavar=('IMAGES', 'MASKS'), help='two folders'
    )
    parser.add_argument('--unlabeled', nargs='+', type=Path, default=[], metavar='IMAGES')
    parser.add_argument('--val', nargs=2, type=Path, metavar=('IMAGES', 'MASKS'))
    parser.add_argument(
        '--num-classes', type=int, help='classes of the folders: masks hold 0 to this - 1, and 255'
    )
    parser.add_argument(
        '--out', type=Path, help="default work_dirs/<the config's path below configs/>/check"
    )
    parser.add_argument(
        '--jobs', type=int, default=os.cpu_count() or 1, help='images read at a time'
    )
    add_options_argument(parser)
    return parser.parse_args(arguments)


def find_sources(args: argparse.Namespace) -> tuple[list[Source], bool, Path]:
    """Find the sources of images.

    Returns:
        The sources; whether an image may be labelled and unlabelled; the folder of the report.

    Raises:
        SetupError: If neither a config nor a folder is given.
    """
    sources, overlap, out = [], False, Path('work_dirs/check')
    folders = args.labeled or args.unlabeled or args.val
    if not args.config and not folders and Path(PROJECT_CONFIG).is_file():
        args.config = PROJECT_CONFIG
    if args.config:
        cfg = configs.load_config(args.config, args.cfg_options, with_model=False)
        configs.set_work_dir(cfg, None, args.config)
        sources += sources_of(cfg)
        overlap, out = cfg.train_dataloader.dataset.get('allow_overlap', False), Path(cfg.work_dir)
        out /= 'check'
    for role, pair in (('labeled', args.labeled), ('val', args.val)):
        if pair:
            sources.append(folder_source(f'{role} folder', role, *pair, args.num_classes))
    sources += [folder_source(f'{path}', 'unlabeled', path) for path in args.unlabeled]
    if not sources:
        raise SetupError(
            'there is nothing to check; give a config, or folders by --labeled IMAGES MASKS, '
            '--unlabeled IMAGES, --val IMAGES MASKS'
        )
    return sources, overlap, args.out or out


def with_bar(items: Iterable, total: int) -> Iterator:
    """Iterate with a progress bar on stderr."""
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total, description='reading images')


def print_tables(report: Report, console: Console) -> None:
    """Print sources, classes and findings."""
    print_sources(report, console)
    print_classes(report, console)
    print_findings(report, console)


def print_sources(report: Report, console: Console) -> None:
    """Print one row for each source."""
    columns = ('source', 'images', 'masks', 'void', 'sizes (width x height)', 'protocol')
    console.print('[italic]Sources[/]')
    grid = Table(*columns)
    for survey in report.surveys:
        source = survey.source
        masks = str(survey.masks) if source.load_labels else 'not opened'
        void = f'{survey.void:.1%}' if survey.masks else ''
        sizes = size_words(survey)
        cells = (source.name, str(source.size), masks, void, sizes, source.note)
        grid.add_row(*map(escape, cells))
    console.print(grid)


def print_classes(report: Report, console: Console) -> None:
    """Print one row for each class, with a column for each source with masks."""
    labelled = [survey for survey in report.surveys if survey.masks]
    if not labelled:
        return
    console.print('\n[italic]Classes: % of the labelled pixels (masks that show the class)[/]')
    grid = Table('class')
    tables = [{row['label']: row for row in survey.class_rows()} for survey in labelled]
    for survey in labelled:
        grid.add_column(escape(survey.source.name), justify='right')
    for label in sorted(set().union(*tables)):
        rows = [table.get(label, dict(name='', share=0.0, masks=0)) for table in tables]
        cells = [f'{share_words(row["share"])} ({row["masks"]})' for row in rows]
        name = next(row['name'] for row in rows if row['name'])
        grid.add_row(escape(name), *cells)
    console.print(grid)


def print_findings(report: Report, console: Console) -> None:
    """Print every finding with at most three of its cases."""
    if report.findings:
        console.print('\n[italic]Findings[/]')
    for finding in report.findings:
        colour = 'red' if finding.level == ERROR else 'yellow'
        line = f'{finding.source}: {finding.what}: {finding.count}'
        console.print(f'[{colour}]{finding.level}[/] {escape(line)}', soft_wrap=True)
        for case in finding.cases[:3]:
            files = [] if any(file in case.text for file in case.files) else [*case.files]
            line = ': '.join([', '.join(files)] * bool(files) + [case.text])
            console.print(f'  {escape(line)}', soft_wrap=True, highlight=False)
        if finding.count > 3:
            console.print(f'  and {finding.count - 3} more')


@tool
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    if args.jobs < 1:
        raise SetupError(f'--jobs {args.jobs}: expected 1 or more')
    cv2.setNumThreads(1)  # the jobs fill the cores
    sources, overlap, out = find_sources(args)
    report = inspect(sources, args.jobs, overlap, with_bar)

    out.mkdir(parents=True, exist_ok=True)
    title = args.config or ', '.join(source.name for source in sources)
    content = json.dumps({'checked': title, **report.as_dict()}, indent=1)
    (out / 'report.json').write_text(content + '\n', encoding='utf-8')
    write_page(report, out / 'index.html', title)

    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 120)
    print_tables(report, console)
    errors, warnings = report.count(ERROR), report.count(WARNING)
    print(f'errors: {errors}, warnings: {warnings}; with pictures: {out / "index.html"}')
    return 1 if errors else 0
