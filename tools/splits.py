"""Lists of labelled and unlabelled images: import published ones, make seeded ones.

Examples:
    python tools/splits.py import --family u2pl --dataset voc --source ~/DDFP
    python tools/splits.py import --family cps --dataset cityscapes --source ~/DGCL
    python tools/splits.py make --images data/mine/images --n 46 --seed 0 --out data/splits/mine/46
"""

import argparse
import sys
from pathlib import Path

from mmseg_semi.datasets import splits
from mmseg_semi.errors import SetupError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)

    published = commands.add_parser('import', help='published lists, checked by hash')
    published.add_argument('--family', required=True, choices=splits.FAMILIES)
    published.add_argument('--dataset', required=True, choices=splits.DATASETS)
    published.add_argument(
        '--source', required=True, type=Path, help='checkout or folder that holds the lists'
    )
    published.add_argument('--out', type=Path, default=Path('data/splits'))
    published.add_argument(
        '--no-verify', action='store_true', help='take lists that are not the published ones'
    )

    made = commands.add_parser('make', help='seeded lists from a folder of images')
    made.add_argument('--images', required=True, type=Path, help='folder of training images')
    made.add_argument('--n', required=True, type=int, help='number of labelled images')
    made.add_argument('--seed', type=int, default=0)
    made.add_argument('--out', required=True, type=Path, help='folder that receives the lists')
    made.add_argument('--masks', type=Path, help='folder of label maps, for --balance')
    made.add_argument(
        '--balance', choices=['classes'], help='let every class appear among the labelled images'
    )
    made.add_argument(
        '--min-pixels', type=int, default=1, help='pixels of a class that count as appearing'
    )
    made.add_argument('--name', default='own', help='name of the protocol in the manifest')
    return parser.parse_args(argv)


def import_published(args: argparse.Namespace) -> None:
    found = splits.import_splits(
        args.family, args.dataset, args.source, args.out, verify=not args.no_verify
    )
    state = 'not verified' if args.no_verify else 'as published'
    for number, split in found.items():
        folder = args.out / args.family / args.dataset / str(number)
        print(
            f'{folder}: {len(split.labeled)} labelled, {len(split.unlabeled)} unlabelled, {state}'
        )
        for problem in split.problems:
            print(f'  warning: {problem}')


def make_seeded(args: argparse.Namespace) -> None:
    split = splits.make_split(
        args.images,
        args.n,
        args.seed,
        args.out,
        masks=args.masks,
        balance=args.balance,
        min_pixels=args.min_pixels,
        name=args.name,
    )
    print(f'{args.out}: {len(split.labeled)} labelled, {len(split.unlabeled)} unlabelled')


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        {'import': import_published, 'make': make_seeded}[args.command](args)
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
