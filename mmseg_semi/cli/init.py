"""Make a project folder from what an annotation tool exports: images, masks, their description, and configs to train with.

Images of the export without annotation become unlabelled images, and so do those of --unlabeled.

Examples:
    mmseg-semi init instances_default.json --images photos --unlabeled more_photos --out leaves
    mmseg-semi init labelme_folder
    mmseg-semi init --images photos --masks masks --classes background=0 leaf=1,2 --unlabeled more_photos
"""

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from mmseg_semi.cli.common import tool
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.preparing.annotations import READERS, Export, read_export
from mmseg_semi.preparing.projects import (
    choose_classes,
    choose_settings,
    divide,
    this_machine,
    write_project,
)
from mmseg_semi.preparing.projects.bands import describe_bands
from mmseg_semi.preparing.projects.classes import CHOICES
from mmseg_semi.preparing.projects.config_files import config_text
from mmseg_semi.preparing.projects.settings import check_options
from mmseg_semi.preparing.projects.summary import class_rows, rows, warnings
from mmseg_semi.preparing.projects.writing import MaskReader, new_folder

_WIDTH = 120


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'export', nargs='?', type=Path, help='the file or folder that the tool wrote'
    )
    parser.add_argument(
        '--unlabeled',
        nargs='+',
        type=Path,
        default=[],
        metavar='FOLDER',
        help='folders of images without annotation',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('project'),
        metavar='PROJECT',
        help='a new folder; default project',
    )
    parser.add_argument(
        '--images',
        type=Path,
        metavar='FOLDER',
        help='the images of the export, if they are not beside it',
    )
    parser.add_argument(
        '--masks',
        type=Path,
        metavar='FOLDER',
        help='a folder of masks, in place of EXPORT; with --images',
    )
    parser.add_argument(
        '--format', choices=READERS, help='the format of the export; default: found by its files'
    )
    parser.add_argument(
        '--unlabelled-pixels',
        choices=CHOICES,
        help='what pixels without annotation are in annotated images; default: the habit of the format, shown in the table',
    )
    parser.add_argument(
        '--val',
        metavar='SHARE|FOLDER',
        help='share of the annotated images that validates, or the folder in which they are; default: the parts of the export, else 0.2',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME[=A,B]',
        help='classes in the order of their indices, renamed or merged by NAME=A,B; ignore=A for what training ignores',
    )
    parser.add_argument(
        '--line-width',
        type=float,
        default=0.0,
        metavar='PIXELS',
        help='lines become areas of this width; default: left out',
    )
    parser.add_argument(
        '--crowd',
        choices=('ignore', 'class'),
        help="COCO's crowd regions; default: shown in the table",
    )
    parser.add_argument(
        '--frame-size',
        type=int,
        metavar='PIXELS',
        help='long side to which images are brought; default: by their sizes',
    )
    parser.add_argument(
        '--iterations',
        type=int,
        help='steps of the training; default: by the number of annotated images',
    )
    parser.add_argument(
        '--copy',
        action='store_true',
        help='copy the images in place of links, to carry the project elsewhere',
    )
    parser.add_argument(
        '--colour',
        nargs=3,
        type=int,
        metavar=('R', 'G', 'B'),
        help='red, green and blue among the bands of multispectral images, counted from 0; default: what the files say',
    )
    parser.add_argument(
        '--nodata',
        type=float,
        metavar='VALUE',
        help='value of pixels without data; NaN and the value that GDAL notes in a file are known without it',
    )
    return parser.parse_args(arguments)


def read(args: argparse.Namespace) -> Export:
    """Read the export that the options name."""
    if args.masks is not None:
        if args.export is not None or args.images is None:
            raise SetupError(
                '--masks stands in place of EXPORT and needs --images: mmseg-semi init --images FOLDER --masks FOLDER'
            )
        if not args.masks.is_dir():
            raise SetupError(f'--masks {args.masks} is no folder; name the folder of masks')
        return read_export(args.masks, args.images, 'masks')
    if args.export is None:
        raise SetupError(
            'there is no EXPORT; give the file or folder that the annotation tool wrote, or --images FOLDER --masks FOLDER'
        )
    return read_export(
        args.export, args.images, args.format, line_width=args.line_width, crowd=args.crowd
    )


def share_or_folder(text: str | None) -> float | Path | None:
    """The option ``--val``."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return Path(text)


def with_bar(todo: Iterable, total: int | None = None, what: str = 'images and masks') -> Iterable:
    """Iterate with a progress bar on stderr, if that is a terminal."""
    console = Console(stderr=True)
    quiet = not console.is_terminal
    return track(todo, what, total, console=console, transient=True, disable=quiet)


def print_tables(console: Console, classes, parts, written, lines) -> None:
    """Print what was done."""
    grid = Table(Column('project', max_width=30), 'what was read and chosen')
    for what, value in lines:
        grid.add_row(escape(what), escape(value))
    console.print(grid)
    titles = [
        title
        for part, title in (('train', 'training'), ('val', 'validation'), ('test', 'test'))
        if part in written.pixels
    ]
    grid = Table('class', 'colour', *(f'{title}: pixels (images)' for title in titles))
    for row in class_rows(classes, written):
        grid.add_row(*map(escape, row))
    console.print(grid)
    for line in warnings(classes, parts, written):
        console.print(f'[yellow]warning[/] {escape(line)}', soft_wrap=True)


@tool
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    check_options(args.frame_size, args.iterations)
    console = Console(width=None if Console().is_terminal else _WIDTH)
    with new_folder(args.out) as folder:
        export = read(args)
        classes = choose_classes(export, args.classes, args.unlabelled_pixels)
        masks = MaskReader(export, classes) if export.mask_values else None
        val = share_or_folder(args.val)
        parts = divide(export, args.unlabeled, val, masks.labels if masks else None)
        written = write_project(
            folder,
            export,
            classes,
            parts,
            args.copy,
            with_bar,
        )
        bands = describe_bands(
            folder / 'data.yaml', args.colour, args.nodata, partial(with_bar, what='bands')
        )
        settings = choose_settings(
            written.sizes,
            len(parts.train),
            this_machine(),
            args.frame_size,
            args.iterations,
            len(parts.val),
        )
        for name, supervised in (('config.py', False), ('supervised.py', True)):
            text = config_text(
                settings, len(classes.names), bool(parts.test), supervised, export.source.name
            )
            write_whole(folder / name, text)
    print_tables(
        console, classes, parts, written, rows(export, classes, parts, written, settings, bands)
    )
    print(f'next: cd {args.out}; mmseg-semi check; mmseg-semi train')
    print('the same on labelled images alone, for comparison: mmseg-semi train supervised.py')
    return 0
