"""Rank unlabelled images: which to annotate next: mmseg-semi rank MODEL FOLDER [--n 20] [--out DIR] [--copy DIR].

Images that the model is uncertain of come first, and among them those that differ from the labelled ones and from each other. Copies
of labelled images are left out, as far as the model's config names its data. Writes rank.csv and a sheet of small pictures. The exit
status is 0; 1 if some files could not be read, the others are ranked then; 2 for a wrong call.
"""

import argparse
import csv
import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import TextColumn

from mmseg_semi.cli.common import tool
from mmseg_semi.cli.predict import (
    add_model_arguments,
    add_size_arguments,
    check_out,
    check_sizes,
    large_images,
)
from mmseg_semi.errors import SetupError
from mmseg_semi.files import whole_file, write_whole
from mmseg_semi.preparing.image_files import place
from mmseg_semi.preparing.progress import progress_bar
from mmseg_semi.runtime.pictures import sheet, shrink
from mmseg_semi.runtime.prediction.models import (
    find_model,
    labelled_images,
    load_model,
    training_size,
)
from mmseg_semi.runtime.prediction.predictor import Predictor
from mmseg_semi.runtime.prediction.ranking import Choice, Described, choose, describe
from mmseg_semi.runtime.prediction.sources import find_images, picture_of

_SIDE, _ACROSS = 200, 5


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument('folder', metavar='FOLDER', help='a folder of images without annotation')
    parser.add_argument('--n', type=int, default=20, help='number of images; default 20')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('rank'),
        metavar='DIR',
        help='folder to write to; default rank',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='write into a folder that holds files'
    )
    parser.add_argument(
        '--copy', type=Path, metavar='DIR', help='link the chosen images into this folder'
    )
    add_size_arguments(parser)
    return parser.parse_args(arguments)


def digest(path: str | Path) -> bytes:
    """BLAKE2 of a file."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'blake2b').digest()


class Ranking:
    """Reads images and chooses among them.

    Args:
        predictor: The model.
        root: Folder that names are relative to.
    """

    def __init__(self, predictor: Predictor, root: Path) -> None:
        self.predictor, self.root = predictor, root
        self.found: dict[Path, Described] = {}
        self.pictures: dict[Path, np.ndarray] = {}
        self.failed: list[tuple[str, str]] = []

    def describe(self, paths: list[Path], what: str) -> list[Path]:
        """Pass images through the network; returns those that could be read."""
        read = []
        with progress_bar(TextColumn('{task.completed:.0f} of {task.total:.0f} images')) as bar:
            for path in bar.track(paths, description=what):
                try:
                    source = self.predictor.load(str(path))
                except Exception as error:  # each decoder raises its own kinds
                    reason = ' '.join(str(error).split()) or type(error).__name__
                    self.failed.append((str(path), reason))
                    continue
                self.found[path] = describe(self.predictor, source)
                read.append(path)
        return read

    def features(self, paths: list[Path]) -> np.ndarray:
        """(N, C) features of images."""
        return np.stack([self.found[path].features for path in paths])

    def name(self, path: Path) -> str:
        """An image's path below the folder."""
        return path.relative_to(self.root).as_posix()

    def picture(self, path: Path) -> np.ndarray:
        """A small picture for the sheet."""
        source = self.predictor.load(str(path))
        return shrink(picture_of(source.read(0, 0, *source.size), source.record), _SIDE)


def table(ranking: Ranking, paths: list[Path], choices: list[Choice]) -> str:
    """The choices as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(('rank', 'image', 'uncertainty', 'distance'))
    for rank, choice in enumerate(choices, 1):
        path = paths[choice.index]
        distance = '' if np.isinf(choice.distance) else f'{choice.distance:.4f}'
        writer.writerow(
            (rank, ranking.name(path), f'{ranking.found[path].uncertainty:.4f}', distance)
        )
    return out.getvalue()


def write_sheet(ranking: Ranking, paths: list[Path], choices: list[Choice], file: Path) -> None:
    """Small pictures of the choices in their order."""
    pictures = [ranking.picture(paths[choice.index]) for choice in choices]
    rows = [pictures[start : start + _ACROSS] for start in range(0, len(pictures), _ACROSS)]
    captions = [
        f'{start + 1} to {start + len(row)}'
        for start, row in zip(range(0, len(pictures), _ACROSS), rows, strict=True)
    ]
    with whole_file(file, sync=False) as draft:
        Image.fromarray(sheet(rows, captions=captions)).save(draft, 'JPEG', quality=90)


def copy_choices(ranking: Ranking, paths: list[Path], choices: list[Choice], folder: Path) -> None:
    """Link the chosen images, in subfolders as they were."""
    for choice in choices:
        path = paths[choice.index]
        place(path, folder / ranking.name(path))


@tool
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    check_sizes(args)
    if args.n < 1:
        raise SetupError(f'--n is {args.n}, expected at least 1')
    source = Path(args.folder)
    check_out(args.out, source, args.overwrite)
    if args.copy is not None and args.copy.exists() and any(args.copy.iterdir()):
        raise SetupError(f"--copy '{args.copy}' holds files; give a new folder")
    with large_images():
        inputs = find_images(source, args.out)
        model = load_model(find_model(args.model, args.config), args.network, args.device)
        predictor = Predictor(model, args.tile, args.overlap, args.batch, training_size(model))
        ranking = Ranking(predictor, inputs.root)
        labeled = [Path(path) for path in labelled_images(model)]
        known = {digest(path) for path in labeled}
        paths = list(inputs.names.values())
        candidates = [path for path in paths if digest(path) not in known]
        if not candidates:
            raise SetupError(
                f"every image in '{source}' is labelled already; give a folder of others"
            )
        labeled = ranking.describe(labeled, 'labelled images')
        candidates = ranking.describe(candidates, 'candidates')
        if not candidates:
            raise SetupError(
                f"no image in '{source}' can be read, the first: {ranking.failed[-1][1]}"
            )
        uncertainty = np.array([ranking.found[path].uncertainty for path in candidates])
        features = ranking.features(candidates)
        known_features = ranking.features(labeled) if labeled else features[:0]
        choices = choose(uncertainty, features, known_features, args.n)
        write_whole(args.out / 'rank.csv', table(ranking, candidates, choices))
        write_sheet(ranking, candidates, choices, args.out / 'rank.jpg')
        if args.copy is not None:
            copy_choices(ranking, candidates, choices, args.copy)
    left_out = len(paths) - len(candidates) - sum(Path(name) in paths for name, _ in ranking.failed)
    beside = (
        f'{len(labeled)} labelled ones'
        if labeled
        else 'no labelled ones, which the config does not name or which are not here'
    )
    print(
        f'{len(candidates)} images ranked beside {beside}; {left_out} copies of labelled images left out'
    )
    for rank, choice in enumerate(choices[:10], 1):
        path = candidates[choice.index]
        print(f'{rank:4}  {ranking.name(path)}  uncertainty {ranking.found[path].uncertainty:.3f}')
    if ranking.failed:
        print(f'{len(ranking.failed)} files could not be read:')
        print('\n'.join(f'  {name}: {reason}' for name, reason in ranking.failed))
    print(f'written to {args.out}: rank.csv, rank.jpg')
    return 1 if ranking.failed else 0
