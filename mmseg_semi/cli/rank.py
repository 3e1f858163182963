"""Rank unlabelled images, which to annotate next: mmseg-semi rank MODEL FOLDER [--n 20].

Writes ranking.csv and contact_sheet.jpg. An image ranks high if the network is unsure about it and if it differs from the
labelled images and from those ranked before it. Masks are not opened.
"""

import argparse
import csv
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import TextColumn

from mmseg_semi.cli.common import tool
from mmseg_semi.cli.predict import (
    add_model_arguments,
    add_tile_argument,
    check_out,
    check_sizes,
    large_images,
)
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file, write_whole
from mmseg_semi.preparing.image_files import place
from mmseg_semi.preparing.progress import progress_bar
from mmseg_semi.runtime.pictures import sheet
from mmseg_semi.runtime.prediction.geo import GeoImage, is_georeferenced
from mmseg_semi.runtime.prediction.looks import Looker, content, thumbnail
from mmseg_semi.runtime.prediction.models import (
    find_model,
    labelled_images,
    load_model,
)
from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.ranking import UNCERTAINTIES, Choice, rank
from mmseg_semi.runtime.prediction.sources import ImageSource, find_images
from mmseg_semi.runtime.prediction.window_loader import window_loader

_COLUMNS = 5


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Rank unlabelled images: which to annotate next.')
    add_model_arguments(parser)
    parser.add_argument('folder', metavar='FOLDER', help='unlabelled images')
    parser.add_argument('--n', type=int, default=20, help='number of images to choose; default 20')
    parser.add_argument(
        '--out', type=Path, default=Path('ranking'), metavar='DIR', help='default ranking'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='write into a folder that holds files'
    )
    parser.add_argument(
        '--uncertainty', choices=UNCERTAINTIES, default='entropy', help='default entropy'
    )
    parser.add_argument(
        '--diversity',
        type=float,
        default=0.5,
        metavar='SHARE',
        help='weight of the distance against the uncertainty, 0 to 1; default 0.5',
    )
    parser.add_argument(
        '--project',
        metavar='FILE',
        help="data.yaml whose labelled images are known already; default the one of the model's config",
    )
    parser.add_argument(
        '--copy', type=Path, metavar='DIR', help='link the chosen images into this folder'
    )
    add_tile_argument(parser)
    return parser.parse_args(arguments)


class Reader:
    """Opens images for the network, and remembers what cannot be read.

    Args:
        predictor: The model.
        root: Folder that names are relative to.
    """

    def __init__(self, predictor: Predictor, root: Path) -> None:
        self.predictor, self.root = predictor, root
        self.failed: list[tuple[str, str]] = []
        self._load_window = window_loader(predictor)

    def open(self, path: Path) -> ImageSource | None:
        """An image's pixels; None if it cannot be read."""
        try:
            if is_georeferenced(path):
                return GeoImage(path, self._load_window)
            return self.predictor.load(str(path))
        except Exception as error:  # each decoder raises its own kinds
            reason = ' '.join(str(error).split()) or type(error).__name__
            self.failed.append((str(path), reason))
            return None


def labelled_paths(project: str | None, model) -> list[str]:
    """Labelled images of the project, else of the model's config.

    Raises:
        SetupError: If ``--project`` names no data file with labelled images.
    """
    if project is None:
        return labelled_images(model.cfg, model.own)
    path = Path(project)
    own = OwnData(path / 'data.yaml' if path.is_dir() else path)
    return [pair['img_path'] for part in ('labeled', 'val', 'test') for pair in _pairs(own, part)]


def _pairs(own: OwnData, part: str) -> list[dict]:
    return own.files(part) if part == 'labeled' or own.content.get(part) else []


def write_table(path: Path, choices: list[Choice], names: list[str]) -> None:
    """Write ranking.csv."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(('rank', 'image', 'score', 'uncertainty', 'distance'))
    for place_, choice in enumerate(choices, 1):
        distance = '' if np.isinf(choice.distance) else f'{choice.distance:.6f}'
        row = (f'{choice.score:.6f}', f'{choice.uncertainty:.6f}', distance)
        writer.writerow((place_, names[choice.index], *row))
    write_whole(path, out.getvalue())


def write_sheet(path: Path, pictures: list[np.ndarray], titles: list[str]) -> None:
    """Write contact_sheet.jpg: pictures in rows, each under its title."""
    cells = [sheet([[picture]], [title]) for picture, title in zip(pictures, titles, strict=True)]
    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    with whole_file(path, sync=False) as draft:
        Image.fromarray(sheet(rows)).save(draft, 'JPEG', quality=90)


@tool
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    check_sizes(args)
    if args.n < 1:
        raise SetupError(f'--n is {args.n}, expected at least 1')
    if not 0 <= args.diversity <= 1:
        raise SetupError(f'--diversity is {args.diversity:g}, expected 0 to 1')
    folder = Path(args.folder)
    check_out(args.out, folder, args.overwrite)
    if args.copy is not None:
        check_out(args.copy, folder, args.overwrite)
    start = time.monotonic()
    with large_images():
        inputs = find_images(folder, args.out)
        model = load_model(find_model(args.model, args.config), args.network, args.device)
        labelled = labelled_paths(args.project, model)
        predictor = Predictor(model, args.tile)
        reader = Reader(predictor, inputs.root)
        looker = Looker(predictor, args.uncertainty)
        known, centres, images, looks, equal = set(), [], [], [], []
        with progress_bar(TextColumn('{task.completed:.0f} of {task.total:.0f}')) as bar:
            for path in bar.track(labelled, description='labelled images'):
                source = reader.open(Path(path))
                if source is not None:
                    known.add(content(source))
                    centres.append(looker(source).embedding)
            for path in bar.track(list(inputs.names.values()), description='unlabelled images'):
                source = reader.open(path)
                if source is None:
                    continue
                if content(source) in known:
                    equal.append(path)
                else:
                    images.append(path)
                    looks.append(looker(source))
        if not images:
            raise SetupError(
                f"'{folder}' holds no unlabelled image that can be read: {len(equal)} equal labelled ones, "
                f'{len(reader.failed)} cannot be read; give another folder'
            )
        names = [path.relative_to(inputs.root).as_posix() for path in images]
        choices = rank(
            np.stack([look.embedding for look in looks]),
            np.array([look.uncertainty for look in looks]),
            np.stack(centres) if centres else None,
            args.n,
            args.diversity,
        )
        chosen = [reader.open(images[choice.index]) for choice in choices]
        titles = [
            f'{number}  {choice.uncertainty:.3f}  {Path(names[choice.index]).name}'
            for number, choice in enumerate(choices, 1)
        ]
        pictures = [thumbnail(source) for source in chosen]
    write_table(args.out / 'ranking.csv', choices, names)
    write_sheet(args.out / 'contact_sheet.jpg', pictures, titles)
    for choice in choices if args.copy is not None else ():
        place(images[choice.index], args.copy / names[choice.index])
    print(
        f'{len(images)} unlabelled images, {len(centres)} labelled ones for comparison, in '
        f'{time.monotonic() - start:.1f} s'
    )
    if not centres:
        print(
            "no labelled image was compared with: the data of the model's config are not there; name them by --project"
        )
    if equal:
        print(f'{len(equal)} images have the pixels of a labelled one and were left out')
    for number, choice in enumerate(choices[:10], 1):
        print(f'  {number:3}  uncertainty {choice.uncertainty:.3f}  {names[choice.index]}')
    if len(choices) > 10:
        print(f'  ... {len(choices) - 10} more in {args.out / "ranking.csv"}')
    if reader.failed:
        print(f'{len(reader.failed)} files could not be read:')
        print('\n'.join(f'  {name}: {reason}' for name, reason in reader.failed))
    written = 'ranking.csv, contact_sheet.jpg'
    print(f'written to {args.out}: {written}' + (f'; images in {args.copy}' if args.copy else ''))
    return 1 if reader.failed else 0
