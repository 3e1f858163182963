"""Lists of labelled and unlabelled images: import published ones, draw, check, describe, export.

Examples:
    mmseg-semi splits import --family u2pl --dataset voc --source ~/DDFP
    mmseg-semi splits import --family cps --dataset cityscapes
    mmseg-semi splits make --images data/mine/images --n 46 --seed 0 --out data/splits/mine/46
    mmseg-semi splits make --images data/mine/videos --group '^([^/]+)/' --n 200 \\
        --out data/splits/mine/200
    mmseg-semi splits check data/splits/cps/voc/732
    mmseg-semi splits check mmseg_semi::ddfp/voc_732.py
    mmseg-semi splits describe mmseg_semi::ddfp/voc_732.py
    mmseg-semi splits export mmseg_semi::fixmatch/camvid_clips_12_lite0.py --out data/own
"""

import argparse
from pathlib import Path

from mmseg_semi.cli.common import tool
from mmseg_semi.data import splits
from mmseg_semi.preparing import made_splits, plain_folders, published_splits, split_reports
from mmseg_semi.runtime import configs


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)

    add_import(commands)
    add_make(commands)
    add_check_and_describe(commands)
    add_export(commands)
    return parser.parse_args(argv)


def add_import(commands: argparse._SubParsersAction) -> None:
    published = commands.add_parser('import', help='import published lists, checked by hash')
    published.add_argument('--family', required=True, choices=splits.FAMILIES)
    published.add_argument('--dataset', required=True, choices=splits.DATASETS)
    published.add_argument(
        '--source',
        help='checkout, folder, archive or web address with the lists; default the GitHub '
        'repository that published them',
    )
    published.add_argument('--out', type=Path, default=Path('data/splits'))
    published.add_argument(
        '--no-verify', action='store_true', help='accept lists that differ from the published ones'
    )


def add_make(commands: argparse._SubParsersAction) -> None:
    made = commands.add_parser('make', help='draw seeded lists from a folder of images')
    made.add_argument('--images', required=True, type=Path, help='folder of training images')
    made.add_argument(
        '--list', type=Path, help='names to draw from, if the folder has other images too'
    )
    made.add_argument('--n', required=True, type=int, help='number of labelled images')
    made.add_argument('--seed', type=int, default=0)
    made.add_argument('--out', required=True, type=Path, help='folder to write the lists to')
    made.add_argument('--masks', type=Path, help='folder of label maps, for --balance')
    made.add_argument(
        '--balance',
        choices=made_splits.BALANCES,
        help='classes: every class appears in the labelled images; stratified: every class has the '
        'same share as in all images',
    )
    made.add_argument(
        '--min-pixels', type=int, default=1, help='least pixels of a class to count an image for it'
    )
    made.add_argument(
        '--group',
        metavar='REGEX',
        help='groups of images, such as videos or cities: the first parenthesis of this regex in '
        "their names; '^([^/]+)/' is the first folder",
    )
    made.add_argument(
        '--grouping',
        choices=made_splits.GROUPINGS,
        default='whole',
        help='whole: all images of a group are labelled or none, at most --n images (default); '
        'spread: each group has its share of the --n images',
    )
    made.add_argument('--name', default='own', help='name of the protocol in the manifest')
    add_suffixes(made)


def add_check_and_describe(commands: argparse._SubParsersAction) -> None:
    check = commands.add_parser(
        'check', help='report problems of a pair of lists; exit status 1 if there are any'
    )
    describe = commands.add_parser(
        'describe', help='print counts, pixels per class and the origin of lists'
    )
    for command in (check, describe):
        command.add_argument(
            'target',
            type=Path,
            help='folder with labeled.txt and unlabeled.txt, or a config with its lists, folders, '
            'masks and validation images',
        )
    check.add_argument('--images', type=Path, help='folder of all training images')
    check.add_argument(
        '--val', type=Path, help='list of validation names, or folder of validation images'
    )
    check.add_argument(
        '--all', type=Path, help='list of all training names, if --images has other images too'
    )
    describe.add_argument(
        '--masks', type=Path, help='folder of label maps, to count pixels per class'
    )
    for command in (check, describe):
        add_suffixes(command)


def add_export(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser(
        'export', help='copy the images of a config into plain folders with a data.yaml'
    )
    export.add_argument('config', help='a config with lists')
    export.add_argument('--out', required=True, type=Path, help='a new folder')
    export.add_argument(
        '--coco',
        action='store_true',
        help='as an annotation tool exports COCO, without masks of the unlabelled images',
    )


def add_suffixes(parser: argparse.ArgumentParser) -> None:
    """Add ``--img-suffix`` and ``--seg-map-suffix``."""
    parser.add_argument(
        '--img-suffix', default='', help='end of image file names, such as _leftImg8bit.png'
    )
    parser.add_argument(
        '--seg-map-suffix',
        default='',
        help='end of label file names, such as _gtFine_labelTrainIds.png',
    )


def import_published(args: argparse.Namespace) -> int:
    """Import the lists of a paper."""
    found = published_splits.import_splits(
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
    return 0


def make_seeded(args: argparse.Namespace) -> int:
    """Draw lists from a folder."""
    split = made_splits.make_split(
        args.images,
        args.n,
        args.seed,
        args.out,
        masks=args.masks,
        balance=args.balance,
        min_pixels=args.min_pixels,
        name=args.name,
        group=args.group,
        grouping=args.grouping,
        img_suffix=args.img_suffix,
        seg_map_suffix=args.seg_map_suffix,
        only=args.list,
    )
    print(f'{args.out}: {len(split.labeled)} labelled, {len(split.unlabeled)} unlabelled')
    return 0


def open_target(args: argparse.Namespace) -> split_reports.Lists:
    """The lists of a folder or of a config."""
    if args.target.suffix == '.py':
        return split_reports.of_config(configs.load_config(args.target))
    return split_reports.of_folder(
        args.target,
        images=getattr(args, 'images', None),
        masks=getattr(args, 'masks', None),
        val=getattr(args, 'val', None),
        everything=getattr(args, 'all', None),
        img_suffix=args.img_suffix,
        seg_map_suffix=args.seg_map_suffix,
    )


def check_split(args: argparse.Namespace) -> int:
    """Print the problems of lists; returns 1 if there are any."""
    findings = split_reports.check(open_target(args))
    for line in findings.lines():
        print(line)
    return 1 if findings.problems else 0


def describe_split(args: argparse.Namespace) -> int:
    """Print a description of lists."""
    print('\n'.join(split_reports.describe(open_target(args))))
    return 0


def export_config(args: argparse.Namespace) -> int:
    """Copy the images of a config into folders."""
    if args.coco:
        for kind, count in plain_folders.export_coco(
            configs.load_config(args.config), args.out
        ).items():
            print(f'{count} {kind} images')
        print(
            f'mmseg-semi init {args.out} reads them; pixels outside of all annotations are ignored: --unlabelled-pixels ignore'
        )
        return 0
    counts = plain_folders.export_folders(configs.load_config(args.config), args.out)
    for folder, count in counts.items():
        print(f'{args.out / folder}: {count} files')
    print(f'{args.out / "data.yaml"} describes them')
    return 0


@tool
def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    commands = {
        'import': import_published,
        'make': make_seeded,
        'check': check_split,
        'describe': describe_split,
        'export': export_config,
    }
    return commands[args.command](args)
