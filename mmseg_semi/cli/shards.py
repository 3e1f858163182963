"""Pack unlabelled images into tar shards, for pools too large for a folder or a disk.

    mmseg-semi shards make --images FOLDER --out FOLDER [--list FILE] [--per-shard 5000] [--seed 0]
    mmseg-semi shards index FOLDER_OR_TAR ... [--suffixes .jpg .png]

``make`` copies images unchanged; after an interruption the same command continues. ``index`` writes
the indexes of shards from other sources, such as the webdataset library. In a config:

    unlabeled=dict(type='ShardedImages', shards=['/disk1/pool', '/disk2/pool'], pipeline=...)
"""

import argparse
import os
from pathlib import Path

from rich.progress import Progress

from mmseg_semi.cli.common import tool
from mmseg_semi.data.checks import missing_paths
from mmseg_semi.data.names import read_bytes, read_lines
from mmseg_semi.data.pools import find_shards
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.shards import IMAGE_SUFFIXES, index_shard, write_shards


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest='task', required=True)
    make = tasks.add_parser('make', help='pack images into shards')
    make.add_argument('--images', type=Path, required=True, help='folder of the images')
    make.add_argument('--out', type=Path, required=True, help='folder of the shards')
    make.add_argument(
        '--list', type=Path, help='names below --images, one per line; default: every image there'
    )
    make.add_argument(
        '--suffix', default='', help="ending of the images, if the list's names have none"
    )
    make.add_argument('--per-shard', type=int, default=5000, help='images of a shard; default 5000')
    make.add_argument(
        '--seed', type=int, default=0, help='seed of the order; -1 keeps the order of the names'
    )
    index = tasks.add_parser('index', help='index shards from elsewhere')
    index.add_argument('shards', nargs='+', help='folders, patterns or tar files')
    index.add_argument(
        '--suffixes', nargs='+', default=list(IMAGE_SUFFIXES), help='endings of the images'
    )
    return parser.parse_args(arguments)


def image_names(args: argparse.Namespace) -> list[str]:
    """Names of the images below the folder, with their endings.

    Raises:
        SetupError: If the folder or the list is missing or empty, or a name is a duplicate.
    """
    if not args.images.is_dir():
        raise SetupError(f'--images: {args.images} is no folder; name the folder of the images')
    if args.list is None:
        names = sorted(
            os.path.relpath(os.path.join(folder, file), args.images)
            for folder, _, files in os.walk(args.images)
            for file in files
            if file.lower().endswith(IMAGE_SUFFIXES)
        )
        if not names:
            raise SetupError(
                f'--images: {args.images} holds no image ({", ".join(IMAGE_SUFFIXES)})'
            )
        return names
    if not args.list.is_file():
        raise SetupError(f'--list: {args.list} does not exist; expected one name per line')
    names = [name + args.suffix for name in read_lines(args.list) if name]
    if len(set(names)) < len(names) or not names:
        raise SetupError(f'--list: {args.list} is empty or has a duplicate name; fix the list')
    missing = missing_paths(str(args.images / name) for name in names)
    if missing:
        raise SetupError(
            f'--list: {args.list} names {len(missing)} images that are not in {args.images}, the first is {missing[0]}; fix the '
            'list, or give the ending of its names (--suffix .jpg)'
        )
    return names


def index_shards(args: argparse.Namespace, progress: Progress) -> tuple[int, int]:
    """Write the indexes; returns the numbers of images and shards."""
    shards = find_shards(args.shards, 'shards')
    images = sum(
        index_shard(shard, args.suffixes)
        for shard in progress.track(shards, description='indexing')
    )
    return images, len(shards)


def make_shards(args: argparse.Namespace, progress: Progress) -> tuple[int, int]:
    """Pack the images; returns the numbers of images and shards.

    Raises:
        SetupError: If an option is out of range or an image cannot be read.
    """
    if args.per_shard < 1 or args.seed < -1:
        raise SetupError(
            f'--per-shard {args.per_shard} --seed {args.seed}: expected 1 or more, and a seed of '
            '0 or more, or -1'
        )
    names = image_names(args)
    bar = progress.add_task('packing', total=len(names))

    def read(name: str) -> bytes:
        try:
            return read_bytes(str(args.images / name))
        except OSError as error:
            raise SetupError(
                f'image {args.images / name} cannot be read ({error.strerror}); fix the list, or '
                'give the ending of its names (--suffix .jpg)'
            ) from error

    shards = write_shards(
        names,
        read,
        args.out,
        args.per_shard,
        None if args.seed < 0 else args.seed,
        str(args.images),
        lambda count: progress.advance(bar, count),
    )
    return len(names), shards


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    with Progress() as progress:
        task = index_shards if args.task == 'index' else make_shards
        images, shards = task(args, progress)
    print(f'{images} images in {shards} shards')
