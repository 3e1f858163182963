"""Write weak masks from the class maps of a trained classifier, and score them against true masks.

python projects/weak_labels/tools/make_masks.py CONFIG CHECKPOINT --out FOLDER [--truth FOLDER]
[--jobs 2]

The config's ``mask_dataset`` names the images and their labels, ``mask_settings`` thresholds,
scales and refinement. The same command continues after an interruption and with images that were
added to the list, and makes masks anew whose image labels have changed. ``--only-score`` scores
existing masks from any source.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

try:
    from mmseg_semi.cli.common import add_options_argument, tool
    from mmseg_semi.runtime import configs, stack
except ValueError as error:  # none or both of the distributions of mmsegmentation are installed
    sys.exit(f'error: {error}')

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from mmseg_semi.data.transforms import read_labels, to_class_indices
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from projects.weak_labels.masks import MaskSettings, make_mask, make_refinement
from projects.weak_labels.weak_masks import save_mask, score_masks

RECORD = 'settings.json'
console = Console()
_worker: dict = {}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write weak masks, and score them.')
    parser.add_argument('config', help='a classifier config with mask_dataset')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint of the classifier')
    parser.add_argument('--out', type=Path, required=True, help='folder of the masks')
    parser.add_argument('--truth', type=Path, help='folder of true masks (NAME.png), for scores')
    parser.add_argument('--crf', help='refinement; default that of the config')
    parser.add_argument('--jobs', type=int, default=1, help='number of processes')
    parser.add_argument('--overwrite', action='store_true', help='make all masks anew')
    parser.add_argument('--only-score', action='store_true', help='write no mask')
    add_options_argument(parser)
    return parser.parse_args()


def prepare(cfg: Config, checkpoint: str, settings: MaskSettings) -> None:
    """Load the model and the data set, once per process."""
    init_default_scope('mmseg')
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)
    with stack.quiet_imports():
        model = MODELS.build(cfg.model)
        load_checkpoint(model, checkpoint, map_location='cpu', logger='silent', strict=True)
    device = get_device()
    _worker.update(
        model=model.to(device).eval(),
        dataset=DATASETS.build(cfg.mask_dataset),
        settings=settings,
        refinement=make_refinement(settings, device),
    )


def write_one(job: tuple[int, str]) -> None:
    """Write the mask of one image of the data set."""
    index, path = job
    dataset = _worker['dataset']
    sample = dataset[index]
    image = np.ascontiguousarray(sample['inputs'].permute(1, 2, 0).numpy())
    mask = make_mask(
        _worker['model'],
        image,
        dataset.targets[index],
        dataset.metainfo,
        _worker['settings'],
        _worker['refinement'],
    )
    save_mask(path, mask)


def make_record(args: argparse.Namespace, settings: MaskSettings, dataset) -> dict:
    """What determines the masks of a folder, and the image labels of each mask, as plain types."""
    outputs = dataset.metainfo['classes']
    labels = {
        name: ';'.join(outputs[c] for c in np.flatnonzero(target).tolist())
        for name, target in zip(dataset.names, dataset.targets, strict=True)
    }
    record = dict(
        checkpoint=hashlib.sha256(Path(args.checkpoint).read_bytes()).hexdigest(),
        **settings.as_dict(),
        images=dataset.path('*'),
        label_classes=dict(zip(outputs, dataset.metainfo['indices'], strict=True)),
        image_labels=labels,
    )
    return json.loads(json.dumps(record))


def begin(out: Path, record: dict, overwrite: bool) -> None:
    """Remove the masks that must be made anew, then write the record, which fits all that remain.

    Raises:
        SetupError: If the folder holds masks of other or unknown settings.
    """
    path = out / RECORD
    known, labels = {}, record['image_labels']
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise SetupError(
                f'{out} is not empty and has no {RECORD}, so its files are not of this command; name another folder'
            )
    elif not overwrite:
        found = json.loads(path.read_text())
        keys = {*found, *record} - {'image_labels'}
        other = sorted(key for key in keys if found.get(key) != record.get(key))
        if other:
            raise SetupError(
                f'the masks in {out} are not known to be made with the same {", ".join(other)} ({path}); name another '
                'folder, or make them anew with --overwrite'
            )
        known = found['image_labels']
    masks = [out / f'{name}.png' for name in labels if known.get(name) != labels[name]]
    stale = [mask for mask in masks if mask.is_file()]
    for mask in stale:
        mask.unlink()
    if stale and not overwrite:
        console.print(f'made anew, because their image labels have changed: {len(stale)} masks')
    # labels of images on other lists stay in the record
    record = {**record, 'image_labels': {**known, **labels}}
    write_whole(path, json.dumps(record, indent=1) + '\n')


def score(dataset, out: Path, truth: Path) -> dict:
    """Score the masks against the true ones.

    Raises:
        SetupError: If a mask or a true mask is missing, or their sizes differ.
    """
    classes = dataset.all_classes
    pairs = (
        tuple(
            to_class_indices(read_labels(str(path)), len(classes), str(path))
            for path in (out / f'{name}.png', truth / f'{name}.png')
        )
        for name in dataset.names
    )
    return score_masks(pairs, len(classes))


def show(scores: dict, classes: tuple[str, ...]) -> None:
    grid = Table(title=f'{scores["masks"]} weak masks against true ones (%)', title_justify='left')
    for name in ('class', 'IoU', 'IoU where labelled'):
        grid.add_column(name, justify='left' if name == 'class' else 'right')
    for index, name in enumerate(classes):
        grid.add_row(name, *(f'{scores[key][index]:.1f}' for key in ('IoU', 'IoU_labeled')))
    grid.add_section()
    grid.add_row('mean', f'{scores["mIoU"]:.1f}', f'{scores["mIoU_labeled"]:.1f}')
    console.print(grid)
    console.print(
        f'labelled: {scores["covered"]:.1f} % of the pixels, right: {scores["accuracy"]:.1f} % of those'
    )


def write_masks(cfg: Config, args: argparse.Namespace, dataset) -> None:
    if not args.checkpoint:
        raise SetupError('name the checkpoint of the classifier, or set --only-score')
    if not Path(args.checkpoint).is_file():
        raise SetupError(
            f"checkpoint '{args.checkpoint}' does not exist; train the classifier: python tools/train.py {args.config}"
        )
    options = dict(cfg.get('mask_settings') or {})
    if args.crf:
        options['crf'] = args.crf
    settings = MaskSettings.of(options)
    make_refinement(settings, 'cpu')  # fails now if unknown or not installed
    begin(args.out, make_record(args, settings, dataset), args.overwrite)
    jobs = [(i, str(args.out / f'{name}.png')) for i, name in enumerate(dataset.names)]
    missing = [job for job in jobs if not os.path.isfile(job[1])]
    columns = ('weak masks', BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task('', total=len(jobs), completed=len(jobs) - len(missing))
        if args.jobs > 1 and len(missing) > 1:
            context = multiprocessing.get_context('spawn')
            initial = (cfg, args.checkpoint, settings)
            with context.Pool(args.jobs, prepare, initial) as pool:
                for _ in pool.imap_unordered(write_one, missing):
                    progress.advance(task)
        elif missing:
            prepare(cfg, args.checkpoint, settings)
            for job in missing:
                write_one(job)
                progress.advance(task)


@tool
def main() -> None:
    args = parse_args()
    cfg = configs.load_config(args.config, args.cfg_options)
    if 'mask_dataset' not in cfg:
        raise SetupError(f'{args.config} has no mask_dataset: name the images to make masks of')
    if args.jobs < 1:
        raise SetupError(f'--jobs {args.jobs}: expected 1 or more')
    init_default_scope('mmseg')
    dataset = DATASETS.build(cfg.mask_dataset)
    if not args.only_score:
        write_masks(cfg, args, dataset)
    if args.truth:
        if not args.truth.is_dir():
            raise SetupError(f'--truth {args.truth} is no folder')
        scores = score(dataset, args.out, args.truth)
        write_whole(args.out / 'scores.json', json.dumps(scores, indent=1) + '\n')
        show(scores, dataset.all_classes)


if __name__ == '__main__':
    main()
