"""Pack unlabelled images into tar shards, for pools too large for a folder or a disk.

    python tools/shards.py make --images FOLDER --out FOLDER [--list FILE] [--per-shard 5000] [--seed 0]
    python tools/shards.py index FOLDER_OR_TAR ... [--suffixes .jpg .png]

``make`` copies images as they are; what was interrupted is continued by the same command. ``index``
writes the indexes of shards that come from elsewhere, such as the webdataset library. In a config:

    unlabeled=dict(type='ShardedImages', shards=['/disk1/pool', '/disk2/pool'], pipeline=...)
"""

import argparse
import os
from pathlib import Path

from rich.progress import Progress

from mmseg_semi.cli.common import tool
from mmseg_semi.data.names import NameList, read_bytes
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
        '--list', type=Path, help='names below --images, one a line; default: every image there'
    )
    make.add_argument(
        '--suffix', default='', help="ending of the images, where the list's names have none"
    )
    make.add_argument('--per-shard', type=int, default=5000, help='images of a shard; default 5000')
    make.add_argument(
        '--seed', type=int, default=0, help='of the order; -1 keeps that of the names; default 0'
    )
    index = tasks.add_parser('index', help='index shards from elsewhere')
    index.add_argument('shards', nargs='+', help='folders, patterns or tar files')
    index.add_argument(
        '--suffixes', nargs='+', default=list(IMAGE_SUFFIXES), help='endings of the images'
    )
    return parser.parse_args(arguments)


def image_names(args: argparse.Namespace) -> list[str]:
    """Names of the images below the folder, ending included."""
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
        raise SetupError(f'--list: {args.list} does not exist; expected one name a line')
    names = [name + args.suffix for name in NameList(args.list) if name]
    if len(set(names)) < len(names) or not names:
        raise SetupError(f'--list: {args.list} is empty or names an image twice; mend the list')
    return names


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    with Progress() as progress:
        if args.task == 'index':
            shards = find_shards(args.shards, 'shards')
            images = sum(
                index_shard(shard, args.suffixes)
                for shard in progress.track(shards, description='indexing')
            )
        else:
            if args.per_shard < 1 or args.seed < -1:
                raise SetupError(
                    f'--per-shard {args.per_shard} --seed {args.seed}: expected 1 or more, and a seed '
                    'of 0 or more, or -1'
                )
            names = image_names(args)

            def read(name: str) -> bytes:
                try:
                    return read_bytes(str(args.images / name))
                except OSError as error:
                    raise SetupError(
                        f'image {args.images / name} cannot be read ({error.strerror}); mend the list, '
                        'or give the ending of its names (--suffix .jpg)'
                    ) from error

            bar = progress.add_task('packing', total=len(names))
            images, shards = (
                len(names),
                range(
                    write_shards(
                        names,
                        read,
                        args.out,
                        args.per_shard,
                        None if args.seed < 0 else args.seed,
                        str(args.images),
                        lambda count: progress.advance(bar, count),
                    )
                ),
            )
    print(f'{images} images in {len(shards)} shards')
