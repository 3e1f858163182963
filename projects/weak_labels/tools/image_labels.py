"""Write a CSV table of image labels, from true masks or for the demo's scenes.

python projects/weak_labels/tools/image_labels.py masks --data CamVidDataset --masks
    data/camvid/labels/train \\ --lists configs/splits/camvid/46/seed0/unlabeled.txt --out
    data/weak_labels/camvid/labels.csv
python projects/weak_labels/tools/image_labels.py demo --out data/weak_labels/quickstart
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

try:
    from mmseg_semi.cli.common import tool
except ValueError as error:  # none or both of the distributions of mmsegmentation are installed
    sys.exit(f'error: {error}')

import numpy as np
from mmengine.registry import init_default_scope
from rich.progress import track

from mmseg_semi.data.list_checks import check_list
from mmseg_semi.data.names import NameList
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.quickstart import MANIFEST, generate
from mmseg_semi.preparing.quickstart_scenes import CLASSES, OPTIONAL, draw_scene
from mmseg_semi.preparing.split_lists import write_lines
from projects.weak_labels.image_labels import classes_of_mask, dataset_classes, write_table
from projects.weak_labels.weak_masks import save_mask


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write a table of image labels.')
    kinds = parser.add_subparsers(dest='source', required=True)
    masks = kinds.add_parser(
        'masks', help='from true masks; only the names of their classes are stored'
    )
    masks.add_argument('--data', required=True, help='data set, such as CamVidDataset')
    masks.add_argument('--masks', type=Path, required=True, help='folder with NAME.png')
    masks.add_argument('--lists', nargs='+', required=True, help='lists of image names')
    masks.add_argument(
        '--min-share',
        type=float,
        default=0.0,
        help='share of the pixels that a class must exceed to count',
    )
    masks.add_argument('--out', type=Path, required=True, help='the CSV file')
    demo = kinds.add_parser(
        'demo',
        help='for all scenes of data/quickstart, with true masks of the unlabelled ones for scores',
    )
    demo.add_argument('--data', type=Path, default=Path('data/quickstart'))
    demo.add_argument(
        '--out',
        type=Path,
        required=True,
        help='folder: labels.csv, lists of scenes, truth/NAME.png',
    )
    return parser.parse_args()


def from_masks(args: argparse.Namespace) -> dict:
    init_default_scope('mmseg')
    classes = dataset_classes(args.data)
    names: list[str] = []
    for path in args.lists:
        if not os.path.isfile(path):
            raise SetupError(f'--lists {path} does not exist')
        check_list(path, '--lists')
        names += NameList(path)
    return {
        name: classes_of_mask(args.masks / f'{name}.png', classes, args.min_share)
        for name in track(names, 'reading masks')
    }


def of_demo(data: Path, out: Path) -> dict:
    """Image labels of the demo's scenes, drawn again because unlabelled masks are not stored."""
    generate(data)
    manifest = json.loads((data / MANIFEST).read_text())
    count = manifest['num_labeled'] + manifest['num_unlabeled']
    table = {}
    for split, number in (('train', count), ('val', manifest['num_val'])):
        for i in track(range(number), f'drawing {split}'):
            seed = (manifest['seed'], 0 if split == 'train' else 1, i)
            _, label = draw_scene(seed, tuple(manifest['size']), OPTIONAL[i % len(OPTIONAL)])
            name = f'{split}/scene_{i:05d}'
            table[name] = {CLASSES[c] for c in np.unique(label)}
            if split == 'train' and i >= manifest['num_labeled']:
                save_mask(out / 'truth' / f'{name}.png', label)
    return table


@tool
def main() -> None:
    args = parse_args()
    if args.source == 'masks':
        table = from_masks(args)
        write_table(args.out, table)
        print(f'{args.out}: {len(table)} images')
        return
    table = of_demo(args.data, args.out)
    write_table(args.out / 'labels.csv', table)
    drawn = json.loads((args.data / MANIFEST).read_text())['num_labeled']
    train = [name for name in table if name.startswith('train/')]
    write_lines(args.out / 'train.txt', train)
    write_lines(args.out / 'unlabeled.txt', train[drawn:])
    write_lines(args.out / 'val.txt', list(table)[len(train) :])
    print(f'{args.out / "labels.csv"}: {len(table)} scenes')


if __name__ == '__main__':
    main()
