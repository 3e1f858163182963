"""Rank unlabelled images, which to annotate next: mmseg-semi rank MODEL FOLDER [--n 20].

Writes ranking.csv and contact_sheet.jpg. An image ranks high if the network is unsure about it and if it differs from the
labelled images and from those ranked before it. Masks are not opened.
"""

import argparse
import csv
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import TextColumn

from mmseg_semi.cli.common import tool
from mmseg_semi.cli.predict import (
    add_model_arguments,
    add_tile_argument,
    check_georeference,
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
from mmseg_semi.runtime.prediction.looks import Look, Looker, content, thumbnail
from mmseg_semi.runtime.prediction.models import (
    Model,
    find_model,
    labelled_images,
    load_model,
)
from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.ranking import UNCERTAINTIES, Choice, rank
from mmseg_semi.runtime.prediction.sources import ImageSource, Inputs, find_images
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

    @contextmanager
    def open(self, path: Path) -> Iterator[ImageSource | None]:
        """An image's pixels, None if it cannot be read; a GeoTIFF is closed at the end of the block."""
        try:
            geo = is_georeferenced(path)
            source = GeoImage(path, self._load_window) if geo else self.predictor.load(str(path))
        except Exception as error:  # each decoder raises its own kinds
            reason = ' '.join(str(error).split()) or type(error).__name__
            self.failed.append((str(path), reason))
            yield None
            return
        try:
            yield source
        finally:
            if geo:
                source.close()


def labelled_paths(project: str | None, model: Model) -> list[str]:
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
    """Write ranking.csv; ``names`` are those of the choices."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(('rank', 'image', 'score', 'uncertainty', 'distance'))
    for number, (choice, name) in enumerate(zip(choices, names, strict=True), 1):
        distance = '' if np.isinf(choice.distance) else f'{choice.distance:.6f}'
        row = (f'{choice.score:.6f}', f'{choice.uncertainty:.6f}', distance)
        writer.writerow((number, name, *row))
    write_whole(path, out.getvalue())


def write_sheet(path: Path, pictures: list[np.ndarray], titles: list[str]) -> None:
    """Write contact_sheet.jpg: pictures in rows, each under its title."""
    cells = [sheet([[picture]], [title]) for picture, title in zip(pictures, titles, strict=True)]
    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    with whole_file(path, sync=False) as draft:
        Image.fromarray(sheet(rows)).save(draft, 'JPEG', quality=90)


class Ranking:
    """Looks at all images, chooses, and writes.

    Args:
        args: The command's options.
        inputs: The unlabelled images.
        predictor: The model.
    """

    def __init__(self, args: argparse.Namespace, inputs: Inputs, predictor: Predictor) -> None:
        self.args, self.inputs = args, inputs
        self.reader = Reader(predictor, inputs.root)
        self.looker = Looker(predictor, args.uncertainty)
        self.known: set[bytes] = set()
        self.centres: list[np.ndarray] = []
        self.images: list[Path] = []
        self.looks: list[Look] = []
        self.equal: list[Path] = []

    def look(self, labelled: Sequence[str]) -> None:
        """Look at the labelled and the unlabelled images.

        Raises:
            SetupError: If no unlabelled image is left.
        """
        with progress_bar(TextColumn('{task.completed:.0f} of {task.total:.0f}')) as bar:
            # an empty list has no bar
            for path in bar.track(labelled, description='labelled images') if labelled else ():
                with self.reader.open(Path(path)) as source:
                    if source is not None:
                        self.known.add(content(source))
                        self.centres.append(self.looker(source).embedding)
            paths = list(self.inputs.names.values())
            for path in bar.track(paths, description='unlabelled images'):
                with self.reader.open(path) as source:
                    if source is None:
                        continue
                    if content(source) in self.known:
                        self.equal.append(path)
                    else:
                        self.images.append(path)
                        self.looks.append(self.looker(source))
        if not self.images:
            raise SetupError(
                f"'{self.args.folder}' holds no unlabelled image that can be read: {len(self.equal)} equal labelled ones, "
                f'{len(self.reader.failed)} cannot be read; give another folder'
            )

    def choose(self) -> list[Choice]:
        """The ranked images."""
        return rank(
            np.stack([look.embedding for look in self.looks]),
            np.array([look.uncertainty for look in self.looks]),
            np.stack(self.centres) if self.centres else None,
            self.args.n,
            self.args.diversity,
        )

    def name(self, choice: Choice) -> str:
        """Path of a chosen image below the folder."""
        return self.images[choice.index].relative_to(self.inputs.root).as_posix()

    def write(self, choices: list[Choice]) -> None:
        """Write the table and the contact sheet, and link the images."""
        out, pictures, titles = self.args.out, [], []
        write_table(out / 'ranking.csv', choices, [self.name(choice) for choice in choices])
        for number, choice in enumerate(choices, 1):
            with self.reader.open(self.images[choice.index]) as source:
                if source is None:  # removed in the meantime; the end says so
                    continue
                pictures.append(thumbnail(source))
            name = self.images[choice.index].name
            titles.append(f'{number}  {choice.uncertainty:.3f}  {name}')
            if self.args.copy is not None:
                place(self.images[choice.index], self.args.copy / self.name(choice))
        write_sheet(out / 'contact_sheet.jpg', pictures, titles)

    def lines(self, choices: list[Choice], seconds: float) -> list[str]:
        """The summary."""
        lines = [
            f'{len(self.images)} unlabelled images, {len(self.centres)} labelled ones for comparison, in {seconds:.1f} s'
        ]
        if not self.centres:
            lines.append(
                "no labelled image was compared with: the data of the model's config are not there; name them by --project"
            )
        if self.equal:
            lines.append(
                f'{len(self.equal)} images have the pixels of a labelled one and were left out'
            )
        for number, choice in enumerate(choices[:10], 1):
            lines.append(f'  {number:3}  uncertainty {choice.uncertainty:.3f}  {self.name(choice)}')
        if len(choices) > 10:
            lines.append(f'  ... {len(choices) - 10} more in {self.args.out / "ranking.csv"}')
        if self.reader.failed:
            lines.append(f'{len(self.reader.failed)} files could not be read:')
            lines += [f'  {name}: {reason}' for name, reason in self.reader.failed]
        copied = f'; images in {self.args.copy}' if self.args.copy else ''
        return [*lines, f'written to {self.args.out}: ranking.csv, contact_sheet.jpg{copied}']


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
        check_georeference(inputs, drop=False)
        model = load_model(find_model(args.model, args.config), args.network, args.device)
        labelled = labelled_paths(args.project, model)
        ranking = Ranking(args, inputs, Predictor(model, args.tile))
        ranking.look(labelled)
        choices = ranking.choose()
        ranking.write(choices)
    print('\n'.join(ranking.lines(choices, time.monotonic() - start)))
    return 1 if ranking.reader.failed else 0
