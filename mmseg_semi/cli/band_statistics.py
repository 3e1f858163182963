"""Measure the bands of own images and write them into the data file: mmseg-semi band-statistics DATA.yaml.

For images of other than three channels of 8 bits (docs/custom_data.md).
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmseg_semi.cli.common import check_seed, tool
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.band_statistics import measure_bands, table, write_bands


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write range, mean and deviation of each band into the data file's key bands."
    )
    parser.add_argument('data_file', type=Path, help='data.yaml, see docs/custom_data.md')
    parser.add_argument(
        '--images', type=int, default=500, help='largest number of images to read; default 500'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the draws; default 0')
    return parser.parse_args(arguments)


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if args.images < 1:
        raise SetupError(f'--images {args.images}: expected 1 or more')
    check_seed(args.seed)

    def progress(items, total):
        return track(items, 'reading', total=total, console=Console(stderr=True))

    found = measure_bands(OwnData(args.data_file), args.images, args.seed, progress)
    write_bands(args.data_file, found.bands)
    print('\n'.join(table(found.bands)))
    print(
        f'{args.data_file}: bands of {found.pixels:,} pixels of {found.images} images; '
        f'{found.missing:.1%} of all pixels have no data'
    )
