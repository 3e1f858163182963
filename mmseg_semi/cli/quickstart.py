"""The demo (`make demo`): generate scenes, train supervised-only and DDFP, compare and draw them.

mmseg-semi demo [--seed 0] [--work-dir work_dirs/quickstart] [--methods supervised ddfp]
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_semi.cli.common import TRAIN, check_seed, tool
from mmseg_semi.errors import SetupError
from mmseg_semi.heads import two_stage
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.ddfp.objective import DDFPObjective
from mmseg_semi.preparing.quickstart import generate
from mmseg_semi.runtime import configs, stack
from mmseg_semi.runtime import pictures as draw
from mmseg_semi.runtime.checkpoints import latest_checkpoint

DATA = Path('data/quickstart')
console = Console()


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train and compare on generated scenes.')
    parser.add_argument('--seed', type=int, default=0, help='seed of the training runs')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'))
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['supervised', 'ddfp'],
        help='names of configs in configs/quickstart; the pictures show the first and the last',
    )
    parser.add_argument(
        '--data-only', action='store_true', help='generate data/quickstart and stop'
    )
    return parser.parse_args(arguments)


def config_of(method: str) -> str:
    """The demo's config of a method."""
    return f'mmseg_semi::quickstart/{method}.py'


# -- training ------------------------------------------------------------------------------------


def newest_scalars(work_dir: Path) -> list[dict]:
    """The lines of the newest scalars.json below a work folder; [] before the first line."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not files:
        return []
    lines = []
    for line in files[-1].read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:  # the run is writing this line
            break
    return lines


def train(methods: list[str], work_dir: Path, seed: int) -> None:
    """Train all methods at the same time, one thread each, with one progress bar per method.

    Raises:
        SetupError: If a run ends with an error; the message names its log.
    """
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    runs, logs = {}, {}
    for method in methods:
        folder = work_dir / method
        folder.mkdir(parents=True, exist_ok=True)
        logs[method] = folder / 'train.log'
        command = [*TRAIN, config_of(method)]
        command += ['--work-dir', str(folder), '--cfg-options', f'randomness.seed={seed}']
        with logs[method].open('w') as log:
            runs[method] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
    columns = (
        TextColumn('{task.description:>12}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('{task.fields[note]}'),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {
            method: progress.add_task(
                method,
                total=configs.load_config(config_of(method)).train_cfg.max_iters,
                note='',
            )
            for method in methods
        }
        try:
            while any(run.poll() is None for run in runs.values()):
                time.sleep(1)
                for method in methods:
                    show(progress, tasks[method], newest_scalars(work_dir / method))
        finally:
            for run in runs.values():
                run.terminate()
        for method in methods:
            show(progress, tasks[method], newest_scalars(work_dir / method))
    for method, run in runs.items():
        if run.returncode:
            lines = logs[method].read_text().strip().splitlines()
            raise SetupError(
                f'training {method} ended with status {run.returncode} '
                f'({lines[-1] if lines else "no output"}); see {logs[method]}'
            )


def show(progress: Progress, task: int, scalars: list[dict]) -> None:
    """Update a progress bar."""
    losses = [line for line in scalars if 'loss' in line]
    scores = [line for line in scalars if 'student/mIoU' in line]
    if losses:
        note = f'loss {losses[-1]["loss"]:.2f}'
        if scores:
            name = 'teacher' if 'teacher/mIoU' in scores[-1] else 'student'
            note += f'  mIoU of the {name} {scores[-1][f"{name}/mIoU"]:.1f}'
        progress.update(task, completed=losses[-1]['step'], note=note)


# -- evaluation ----------------------------------------------------------------------------------


def load(method: str, work_dir: Path) -> tuple[Config, nn.Module]:
    """Config and model of a finished run, from its last checkpoint."""
    cfg = configs.load_config(config_of(method))
    checkpoint = latest_checkpoint(str(work_dir / method))
    if checkpoint is None:
        raise SetupError(f'{work_dir / method} has no complete checkpoint; see train.log there')
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu', logger='silent', strict=True)
    return cfg, model.eval()


@torch.no_grad()
def predict(model: nn.Module, network: str, sample: dict) -> Tensor:
    """(H, W) labels of one validation sample by 'teacher' or 'student'."""
    batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
    with model.predict_with(network):
        return model.test_step(batch)[0].pred_sem_seg.data[0]


def class_ious(model: nn.Module, network: str, samples: Iterable[dict], classes: int) -> np.ndarray:
    """IoU of each class in percent over all samples, NaN for a class that never occurs."""
    confusion = torch.zeros(classes * classes, dtype=torch.int64)
    for sample in samples:
        truth = sample['data_samples'].gt_sem_seg.data[0].long()
        valid = truth != IGNORE
        pairs = truth[valid] * classes + predict(model, network, sample)[valid]
        confusion += torch.bincount(pairs, minlength=classes * classes)
    confusion = confusion.view(classes, classes).double()
    hits = confusion.diag()
    return (100 * hits / (confusion.sum(0) + confusion.sum(1) - hits)).numpy()


def table(methods: list[str], models: dict, samples: list[dict], names: list[str], work_dir: Path):
    """Print the IoU per class of every network, and mIoU at the last and at the best validation."""
    columns = [(method, network) for method in methods for network in models[method].networks]
    grid = Table(title='IoU on the validation scenes (%), last iteration', title_justify='left')
    grid.add_column('class')
    for method, network in columns:
        grid.add_column(f'{method}\n{network}', justify='right')
    ious = {
        column: class_ious(models[column[0]], column[1], samples, len(names)) for column in columns
    }
    for index, name in enumerate(names):
        grid.add_row(name, *(f'{ious[column][index]:.1f}' for column in columns))
    grid.add_section()
    grid.add_row('mIoU, last', *(f'{np.nanmean(ious[column]):.1f}' for column in columns))
    best = []
    for method, network in columns:
        summary = json.loads((work_dir / method / 'results.json').read_text())['summary']
        row = summary[f'{network}/mIoU']
        best.append(f'{row["best"]:.1f} @ {row["best_iter"]}')
    grid.add_row('mIoU, best', *best)
    console.print(grid)


# -- pictures ------------------------------------------------------------------------------------


@torch.no_grad()
def density_map(model: nn.Module, sample: dict) -> Tensor | None:
    """(h, w) log-density of the teacher network's features of one image; None without a density."""
    objective = next((one for one in model.objectives if isinstance(one, DDFPObjective)), None)
    if objective is None:
        return None
    network = model.teacher_network
    data = model.data_preprocessor({'inputs': [sample['inputs']], 'data_samples': None}, False)
    head = two_stage(network.decode_head)
    features = head.finish(head.lift(head.embed(network.extract_feat(data['inputs'])))).features[0]
    rows = features.flatten(1).T
    return objective.density.log_prob(rows).view(features.shape[1:])


@torch.no_grad()
def pseudo_label(model: nn.Module, sample: dict) -> Tensor:
    """(H, W) pseudo-labels of one image by the recipe, IGNORE below the threshold."""
    data = model.data_preprocessor({'inputs': [sample['inputs']], 'data_samples': None}, False)
    size = data['inputs'].shape[2:]
    metas = [{'img_shape': size, 'ori_shape': size, 'pad_shape': size, 'padding_size': [0] * 4}]
    logits = model.teacher_network.encode_decode(data['inputs'], metas)
    valid = torch.ones(1, *size, dtype=torch.bool)
    return model.pseudo_label(model.upsample(logits, size), valid, time=float('inf')).labels[0]


def sheet(methods: list[str], models: dict, samples: list[dict], palette, path: Path) -> None:
    """Draw one row per scene: image, truth, first method, last method, pseudo-label, density."""
    first, last = models[methods[0]], models[methods[-1]]
    picked = samples[:: max(1, len(samples) // 6)][:6]
    maps = [density_map(last, sample) for sample in picked]
    known = [m for m in maps if m is not None]
    low, high = np.percentile(torch.cat([m.flatten() for m in known]), [2, 98]) if known else (0, 1)
    rows = []
    for sample, density in zip(picked, maps, strict=True):
        image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
        side = image.shape[:2]
        truth = sample['data_samples'].gt_sem_seg.data[0]
        row = [
            image,
            draw.paint_labels(truth, palette),
            draw.paint_labels(predict(first, first.predicting_network, sample), palette),
            draw.paint_labels(predict(last, last.predicting_network, sample), palette),
        ]
        if last.pseudo_label is not None:
            row.append(draw.paint_labels(pseudo_label(last, sample), palette))
        if density is not None:
            enlarged = F.interpolate(density[None, None], size=side, mode='nearest')[0, 0]
            row.append(draw.paint_values(enlarged, low, high))
        rows.append([np.kron(p, np.ones((2, 2, 1), np.uint8)) for p in row])
    titles = ['image', 'ground truth', methods[0], f'{methods[-1]} ({last.predicting_network})']
    titles += ['pseudo-label (striped: ignored)', 'log-density (dark: sparse)']
    picture = draw.sheet(rows, titles)
    Image.fromarray(picture).save(path)


def curves(methods: list[str], work_dir: Path, path: Path) -> None:
    """Plot losses and mIoU over the iterations."""
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for color, method in enumerate(methods):
        scalars = newest_scalars(work_dir / method)
        for key, style in (
            ('sup.decode.loss_ce', '-'),
            ('selftrain.loss', '--'),
            ('ddfp.loss', ':'),
        ):
            points = [(line['step'], line[key]) for line in scalars if key in line]
            if points:
                left.plot(
                    *zip(*points, strict=True), style, color=f'C{color}', label=f'{method}: {key}'
                )
        for network, style in (('teacher', '-'), ('student', '--')):
            key = f'{network}/mIoU'
            points = [(line['step'], line[key]) for line in scalars if key in line]
            if points:
                right.plot(
                    *zip(*points, strict=True),
                    style,
                    color=f'C{color}',
                    marker='.',
                    label=f'{method}: {network}',
                )
    left.set(xlabel='iteration', ylabel='loss', title='losses')
    right.set(xlabel='iteration', ylabel='mIoU (%)', title='validation')
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    check_seed(args.seed)
    torch.set_num_threads(2)
    start = time.monotonic()
    init_default_scope('mmseg')
    generate(DATA)
    if args.data_only:
        return
    train(args.methods, args.work_dir, args.seed)
    with stack.quiet_imports():
        loaded = {method: load(method, args.work_dir) for method in args.methods}
    models = {method: model for method, (_, model) in loaded.items()}
    cfg = loaded[args.methods[0]][0]
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    samples = [dataset[index] for index in range(len(dataset))]
    names, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    table(args.methods, models, samples, names, args.work_dir)
    sheet(args.methods, models, samples, palette, args.work_dir / 'sheet.png')
    curves(args.methods, args.work_dir, args.work_dir / 'curves.png')
    console.print(f'pictures: {args.work_dir / "sheet.png"}, {args.work_dir / "curves.png"}')
    console.print(f'done in {time.monotonic() - start:.0f} s')
