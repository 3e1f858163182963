"""Train several configs on several label subsets and write a table of their mIoU.

The runs of one subset share lists, seed and iterations, so their differences are paired. Each run
has one thread. Finished runs are kept: after an interruption the same command continues.

The lists replace those of the configs, also in configs of a published protocol. Their origin, from
the manifest beside them, stands below the table.

python tools/analysis/compare.py configs/supervised/camvid_46_small.py
configs/fixmatch/camvid_46_small.py \\
    --lists configs/splits/camvid/46/seed{0,1,2} --jobs 2 --amp --out work_dirs/compare/camvid_46
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import Progress

from mmseg_semi.cli.common import TRAIN, tool
from mmseg_semi.data.splits import read_manifest, summarize_file
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.runtime import configs


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare configs on label subsets.')
    parser.add_argument(
        'configs', nargs='+', help='config files; the others are compared with the first'
    )
    parser.add_argument(
        '--lists',
        nargs='+',
        required=True,
        type=Path,
        help='folders with labeled.txt and unlabeled.txt, one per subset',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='seeds of the runs')
    parser.add_argument(
        '--jobs', type=int, default=2, help='runs at the same time, one thread each'
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='folder of the runs and of the table'
    )
    parser.add_argument('--amp', action='store_true', help='as in tools/train.py')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='passed to every run'
    )
    return parser.parse_args(arguments)


def name_of(config: str) -> str:
    """configs/ddfp/reference/camvid_46_small.py -> ddfp/reference/camvid_46_small."""
    parts = Path(config).with_suffix('').parts
    return '/'.join(parts[parts.index('configs') + 1 :] if 'configs' in parts else parts[-2:])


def train(config: str, lists: Path, seed: int, args: argparse.Namespace, folder: Path) -> dict:
    """Train one run, or read it if it is finished; returns the summary of its results.json.

    Raises:
        SetupError: If the run ends with an error; the message names its log.
    """
    done = folder / 'done.json'
    if done.is_file():
        return json.loads(done.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    options = options_of(config, lists, seed) + args.cfg_options
    command = [*TRAIN, config, '--work-dir', str(folder), '--resume']
    command += ['--amp'] * args.amp + ['--cfg-options', *options]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    with (folder / 'train.log').open('a') as log:
        status = subprocess.run(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status:
        lines = (folder / 'train.log').read_text(errors='replace').splitlines()
        said = [line for line in lines if line.startswith('error: ')][-1:]
        raise SetupError(
            f'{config} on {lists} ended with status {status}; see {folder / "train.log"}'
            + ''.join(f', which says: {line.removeprefix("error: ")}' for line in said)
        )
    summary = json.loads((folder / 'results.json').read_text())['summary']
    write_whole(done, json.dumps(summary))
    return summary


def options_of(config: str, lists: Path, seed: int) -> list[str]:
    """Options that replace the lists of a config.

    Raises:
        SetupError: If the config has no lists, or a list is missing.
    """
    dataset = configs.load_config(config).get('train_dataloader', {}).get('dataset', {})
    key = 'train_dataloader.dataset'
    if dataset.get('type') != 'SemiDataset':
        raise SetupError(f"{config}: {key}.type is {dataset.get('type')!r}, expected 'SemiDataset'")
    options = [f'randomness.seed={seed}', 'default_hooks.checkpoint.max_keep_ckpts=1']
    by_split = dataset.get('split') is not None
    if by_split:
        options.append(f'{key}.split={lists}')
    if not by_split or 'protocol' in dataset:
        options.append(f'{key}.protocol=None')  # it belongs to the config's own lists
    for kind in ('labeled', 'unlabeled'):
        source = dataset.get(kind)
        if source is None and kind == 'unlabeled':  # a supervised-only config
            continue
        if not isinstance(source, dict) or not (by_split or 'ann_file' in source):
            raise SetupError(
                f'{config}: {key}.{kind} reads no list (ann_file), so --lists cannot replace it; '
                'compare configs whose images are listed'
            )
        path = lists / f'{kind}.txt'
        if not path.is_file():
            raise SetupError(
                f'--lists {lists} holds no {path.name}; python tools/splits.py make|import writes '
                'it'
            )
        if 'ann_file' in source:
            options.append(f'{key}.{kind}.ann_file={path}')
    return options


def origin(lists: Path) -> str:
    """The origin of lists: their protocol, their count and the begin of the labelled hash."""
    manifest = read_manifest(lists) or {}
    labeled = summarize_file(lists / 'labeled.txt')
    count = f'{labeled["count"]} labelled'
    name = manifest.get('protocol', 'of no named protocol')
    return f'`{lists}`: {name}, {count}, SHA-256 {labeled["sha256"][:12]}'


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    mean = statistics.mean(values)
    return f'{mean:.1f} ± {statistics.stdev(values):.1f}' if len(values) > 1 else f'{mean:.1f}'


def table(configs: list[str], columns: list[str], results: dict) -> str:
    """The table in Markdown.

    A row is a config and a network: last (best) mIoU for each subset, the means, and the paired
    gain over the first config.
    """
    lines = [
        '| config | network | '
        + ' | '.join(columns)
        + ' | mean, last | mean, best | gain over the first, last |',
        '|---' * (len(columns) + 5) + '|',
    ]
    base = None
    for config in configs:
        runs = [results[config, column] for column in columns]
        networks = [key.split('/')[0] for key in runs[0] if key.endswith('/mIoU')]
        for network in networks:
            rows = [run[f'{network}/mIoU'] for run in runs]
            last = [row['last'] for row in rows]
            base = base or last
            gain = spread([a - b for a, b in zip(last, base, strict=True)])
            cells = [f'{row["last"]:.1f} ({row["best"]:.1f})' for row in rows]
            lines.append(
                f'| `{name_of(config)}` | {network} | {" | ".join(cells)} | {spread(last)} | '
                f'{spread([row["best"] for row in rows])} | {gain} |'
            )
    return '\n'.join(lines) + '\n'


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    columns = [
        f'{lists.name}' + (f', run {seed}' if len(args.seeds) > 1 else '')
        for lists, seed in itertools.product(args.lists, args.seeds)
    ]
    subsets = list(itertools.product(args.lists, args.seeds))
    for lists, config in itertools.product(args.lists, args.configs):
        options_of(config, lists, 0)  # raises before the first run
    results = {}
    with Progress() as progress, ThreadPoolExecutor(args.jobs) as pool:
        task = progress.add_task('runs', total=len(subsets) * len(args.configs))
        jobs = {}
        for (lists, seed), column in zip(subsets, columns, strict=True):
            for config in args.configs:
                folder = args.out / name_of(config) / f'{lists.name}_run{seed}'
                jobs[config, column] = pool.submit(train, config, lists, seed, args, folder)
        for key, job in jobs.items():
            results[key] = job.result()
            progress.advance(task)
    text = table(args.configs, columns, results)
    text += '\n' + ''.join(f'- {origin(lists)}\n' for lists in args.lists)
    (args.out / 'table.md').write_text(text)
    print(text)
