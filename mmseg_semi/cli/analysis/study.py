"""Run a study, configs x splits x seeds, test its runs, and write its tables.

    mmseg-semi study mmseg_semi::studies/camvid_clips_12.py --jobs 2

The runs stand in work_dirs/NAME/METHOD/LIST_run<seed>/, the tables beside them in table.md and
table.json. Finished runs are kept, and an interrupted one is resumed from its last checkpoint: after an
interruption the same command goes on. If a run fails, no further one is started.

A study file is a Python config with these keys:

    name        name of the study and of its folder
    configs     {method: config}, or {method: dict(config=..., options=[...])}
    splits      names of splits, or folders of lists; they replace the split of the configs
    seeds       seeds of the training; default [0]
    options     KEY=VALUE as --cfg-options, for all runs; default none
    amp         mixed precision, as mmseg-semi train --amp; default False
    test        dict(pool, by_clip, clips), see mmseg-semi test: what the last and the best checkpoint
                of each run are evaluated on; default nothing
    reference   method, or list of them, that the others are compared with; default the first
    all_labels  dict(config, split, options): the run with all labels; default none
    keep        False removes the checkpoints of a run after its tests; default True
"""

import argparse
import difflib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_semi.cli.analysis import compare
from mmseg_semi.cli.analysis.runs import Evaluation, Run, finish_all
from mmseg_semi.cli.common import tool
from mmseg_semi.data.splits import split_folder
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.packaged import PREFIX
from mmseg_semi.runtime import configs

ALL_LABELS = 'all_labels'
"""Method of the run with all labels."""
KEYS = (
    'name',
    'configs',
    'splits',
    'seeds',
    'options',
    'amp',
    'test',
    'reference',
    'all_labels',
    'keep',
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('study', help='a study file')
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs at the same time, one thread each; default 1'
    )
    parser.add_argument(
        '--out', type=Path, help='folder of the runs and tables; default work_dirs/NAME'
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Study:
    """A study file, read and checked.

    Attributes:
        name: Its name.
        folder: Folder of its runs and tables.
        runs: In their order: all methods of a list and seed, then the next seed, then the next list.
        methods: In the order of the tables.
        splits: Splits of the methods.
        reference: Methods that the others are compared with.
        all_labels: :data:`ALL_LABELS` or None.
        evaluation: What is evaluated after each training.
        keep: Whether checkpoints are kept.
    """

    name: str
    folder: Path
    runs: list[Run]
    methods: list[str]
    splits: list[str]
    reference: list[str]
    all_labels: str | None
    evaluation: Evaluation
    keep: bool


def read_study(path: str | Path, out: Path | None = None) -> Study:
    """Read a study file.

    Args:
        path: The file.
        out: Folder of its runs; default ``work_dirs/<name>``.

    Raises:
        SetupError: If the file or a key of it is missing or wrong.
    """
    content = configs.load_config(path, with_model=False).to_dict()
    _check_keys(path, content, KEYS, ('name', 'configs', 'splits'))
    methods = {
        method: _method(path, f'configs.{method}', entry, ('config', 'options'))
        for method, entry in content['configs'].items()
    }
    splits, seeds = list(content['splits']), list(content.get('seeds', [0]))
    if isinstance(content['splits'], str) or not splits or not seeds or not methods:
        raise SetupError(f'{path}: configs, splits and seeds must each be a list of at least one')
    if ALL_LABELS in methods:
        raise SetupError(f'{path}: configs.{ALL_LABELS} is the name of the run with all labels')
    reference = content.get('reference') or next(iter(methods))
    reference = [reference] if isinstance(reference, str) else list(reference)
    unknown = [name for name in reference if name not in methods]
    if unknown:
        raise SetupError(
            f'{path}: reference is {unknown[0]!r}, expected one of {", ".join(methods)}'
        )
    test = content.get('test') or {}
    _check_keys(path, test, ('pool', 'by_clip', 'clips'), (), 'test.')
    folder = out or Path('work_dirs', content['name'])
    shared = list(content.get('options', []))

    def run(method: str, entry: Mapping[str, Any], split: str, seed: int) -> Run:
        return Run(
            method=method,
            config=entry['config'],
            split=split,
            seed=seed,
            folder=folder / method / f'{folder_name(split)}_run{seed}',
            options=tuple([*shared, *entry.get('options', [])]),
            amp=bool(content.get('amp', False)),
        )

    runs = [
        run(method, entry, split, seed)
        for split, seed in itertools.product(splits, seeds)
        for method, entry in methods.items()
    ]
    everything = content.get('all_labels')
    if everything:
        entry = _method(path, 'all_labels', everything, ('config', 'split', 'options'))
        if 'split' not in entry:
            raise SetupError(f"{path}: all_labels has no key 'split', the split with all labels")
        runs += [run(ALL_LABELS, entry, entry['split'], seed) for seed in seeds]
    return Study(
        name=content['name'],
        folder=folder,
        runs=runs,
        methods=[*methods, ALL_LABELS] if everything else list(methods),
        splits=splits,
        reference=reference,
        all_labels=ALL_LABELS if everything else None,
        evaluation=Evaluation(**test),
        keep=bool(content.get('keep', True)),
    )


def folder_name(split: str) -> str:
    """Name of a split in the name of a folder.

    Example:
        >>> folder_name('camvid_clips 12 seed0'), folder_name('data/splits/mine/46')
        ('camvid_clips-12-seed0', 'data-splits-mine-46')
    """
    return re.sub(r'[^\w.]+', '-', split).strip('-')


def _method(path: str | Path, place: str, entry: Any, keys: tuple[str, ...]) -> dict:
    """Config and options of a method."""
    entry = dict(config=entry) if isinstance(entry, str) else entry
    if not isinstance(entry, Mapping):
        raise SetupError(
            f'{path}: {place} is {entry!r}, expected a config file or dict(config=..., options=[...])'
        )
    _check_keys(path, entry, keys, ('config',), f'{place}.')
    config = entry['config']
    if str(path).startswith(PREFIX) and config.startswith('configs/'):  # beside the package's study
        config = PREFIX + config.removeprefix('configs/')
    return dict(entry, config=config)


def _check_keys(
    path: str | Path,
    found: Mapping,
    known: tuple[str, ...],
    needed: tuple[str, ...],
    place: str = '',
) -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'its keys are {", ".join(known)}'
            raise SetupError(f'{path} has the key {place}{key}; {hint}')
    for key in needed:
        if not found.get(key):
            raise SetupError(
                f'{path} has no key {place}{key}; add it (docs/results.md shows a study)'
            )


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    study = read_study(args.study, args.out)
    order = dict(methods=study.methods, reference=study.reference, all_labels=study.all_labels)
    write_whole(study.folder / compare.STUDY, json.dumps(order, indent=1) + '\n')
    finish_all(study.runs, args.jobs, study.evaluation, study.keep)
    footer = ''.join(f'- {compare.origin(split_folder(split))}\n' for split in study.splits)
    compare.compare(
        study.folder,
        pool=study.evaluation.pool,
        footer=footer,
        files=(study.folder / 'table.md', study.folder / 'table.json'),
    )
