"""Compare runs: tables of their mIoU, by method, list and seed, with paired differences.

With the folder of a study, it reads the runs there (mmseg-semi study):

    mmseg-semi compare work_dirs/camvid_clips_12 --pool

With configs and lists, it trains them first. The lists replace those of the configs, also in configs
of a published protocol. Finished runs are kept: after an interruption the same command continues.

    mmseg-semi compare mmseg_semi::{supervised,fixmatch}/camvid_46_small.py \\
        --lists "camvid 46 seed0" "camvid 46 seed1" --jobs 2 --amp --out work_dirs/compare/camvid_46

Runs of one list and seed are paired. docs/results.md explains the columns.
"""

import argparse
import itertools
import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_semi.cli.analysis.runs import Evaluation, Run, finish_all
from mmseg_semi.cli.common import tool
from mmseg_semi.data.splits import read_manifest, split_folder, summarize_file
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.packaged import find_config
from mmseg_semi.runtime.tables import markdown_table, number, text_table

STUDY = 'study.json'
"""In the folder of a study: order of its methods, references and the run with all labels."""
TITLES = dict(
    val='Validation images', test='Test images', pool='Unlabelled training images, by their masks'
)
CHECKPOINTS = ('last', 'best')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'sources', nargs='+', metavar='FOLDER|CONFIG', help='the folder of a study, or configs'
    )
    parser.add_argument(
        '--pool',
        action='store_true',
        help='tables of the scores on the unlabelled training images, too; with configs they are '
        'evaluated after the training',
    )
    parser.add_argument(
        '--reference',
        nargs='+',
        metavar='METHOD',
        help="methods that the others are compared with; default the study's, or the first",
    )
    parser.add_argument(
        '--all-labels', metavar='METHOD', help="the run with all labels; default the study's"
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the tables')
    train = parser.add_argument_group('options with configs')
    train.add_argument(
        '--lists',
        nargs='+',
        type=split_folder,
        metavar='SPLIT',
        help="one per subset: a folder with labeled.txt and unlabeled.txt, or a name, such as 'camvid 46 seed0'",
    )
    train.add_argument('--seeds', nargs='+', type=int, default=[0], help='seeds of the runs')
    train.add_argument('--jobs', type=int, default=2, help='runs at the same time, one thread each')
    train.add_argument('--out', type=Path, help='folder of the runs and of the table')
    train.add_argument('--amp', action='store_true', help='as in mmseg-semi train')
    train.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='passed to every run'
    )
    return parser.parse_args(arguments)


# ------------------------------------------------------------------------------------ reading


@dataclass
class Result:
    """What one run reached.

    Attributes:
        summary: Of its ``results.json``: metric -> last, last_iter, best, best_iter.
        scores: ('pool' or 'test', 'last' or 'best') -> content of the file of ``tools/test.py``.
    """

    method: str
    list: str
    seed: int
    summary: dict
    scores: dict[tuple[str, str], dict] = field(default_factory=dict)

    @property
    def networks(self) -> list[str]:
        """Its networks, the deployed one first; '' for the one of a plain segmentor."""
        names = [key.rpartition('/')[0] for key in self.summary if key.endswith('mIoU')]
        return sorted(names, key=lambda name: name != 'teacher')

    def entry(self, images: str, checkpoint: str, network: str) -> dict | None:
        """Scores of a network on all frames, None where they were not measured."""
        scores = self.scores.get((images, checkpoint))
        return scores and scores['all']['networks'].get(network or 'network')

    def value(self, images: str, checkpoint: str, network: str) -> float | None:
        """mIoU in percent, None where it was not measured."""
        if images == 'val':
            row = self.summary.get(f'{network}/mIoU' if network else 'mIoU')
            return row and row[checkpoint]
        entry = self.entry(images, checkpoint, network)
        return entry and entry['mIoU']


def read_results(folder: Path) -> tuple[list[Result], list[str]]:
    """The finished runs below a folder, METHOD/LIST_run<seed> or METHOD/LIST_<seed>.

    In a study a run is finished if it has a ``done.json``. Elsewhere, it is finished if no other run of its
    method has more iterations.

    Returns:
        The runs, and the folders of those that are not finished.

    Raises:
        SetupError: If there is no finished run.
    """
    found, unfinished = [], []
    in_study = (folder / STUDY).is_file()
    for path in sorted(folder.rglob('results.json')):
        name = re.fullmatch(r'(.+)_(?:run)?(\d+)', path.parent.name)
        if name is None:
            continue
        if in_study and not (path.parent / 'done.json').is_file():
            unfinished.append(path.parent.relative_to(folder).as_posix())
            continue
        method = path.parent.parent.relative_to(folder).as_posix()
        summary = json.loads(path.read_text())['summary']
        result = Result(method, name[1], int(name[2]), summary)
        for images in ('pool', 'test'):
            result.scores |= _read_scores(path.parent, images)
        found.append(result)
    longest: dict[str, int] = {}
    for result in found:
        longest[result.method] = max(longest.get(result.method, 0), _length(result))
    short = [result for result in found if _length(result) < longest[result.method]]
    unfinished += [f'{result.method}/{result.list}_run{result.seed}' for result in short]
    found = [result for result in found if result not in short]
    if not found:
        raise SetupError(
            f'{folder} holds no finished run; expected METHOD/LIST_run<seed>/results.json, as '
            'mmseg-semi study writes them'
        )
    return found, unfinished


def _length(result: Result) -> int:
    return max(row['last_iter'] for row in result.summary.values())


def _read_scores(folder: Path, images: str) -> dict[tuple[str, str], dict]:
    scores = {}
    for checkpoint, pattern in (('last', 'iter_*'), ('best', 'best_*')):
        files = [json.loads(path.read_text()) for path in folder.glob(f'{images}_{pattern}.json')]
        if files:
            scores[images, checkpoint] = max(files, key=lambda content: content['iter'] or -1)
    return scores


# ------------------------------------------------------------------------------------ numbers


def describe_values(values: Mapping[tuple[str, int], float]) -> dict:
    """Mean, sample standard deviation and worst list of the values of runs.

    Args:
        values: (list, seed) -> value.

    Returns:
        dict: ``mean``, ``sd`` (None for one run), ``by_list`` (mean over the seeds of each list), ``worst_list``
        and ``worst``.
    """
    by_list: dict[str, list[float]] = {}
    for (name, _), value in values.items():
        by_list.setdefault(name, []).append(value)
    means = {name: statistics.mean(found) for name, found in sorted(by_list.items())}
    numbers = list(values.values())
    worst = min(means, key=means.get)
    return dict(
        mean=statistics.mean(numbers),
        sd=statistics.stdev(numbers) if len(numbers) > 1 else None,
        by_list=means,
        worst_list=worst,
        worst=means[worst],
    )


def paired(
    values: Mapping[tuple[str, int], float], reference: Mapping[tuple[str, int], float]
) -> dict | None:
    """Differences from the reference at equal lists and seeds.

    Returns:
        dict: ``pairs``, ``mean``, ``sd``, ``above`` (number of pairs above 0) and ``smallest``; None without
        a pair.
    """
    pairs = [values[key] - reference[key] for key in values if key in reference]
    if not pairs:
        return None
    return dict(
        pairs=len(pairs),
        mean=statistics.mean(pairs),
        sd=statistics.stdev(pairs) if len(pairs) > 1 else None,
        above=sum(pair > 0 for pair in pairs),
        smallest=min(pairs),
    )


def recovered(
    values: Mapping[tuple[str, int], float],
    reference: Mapping[tuple[str, int], float],
    all_labels: Mapping[int, float],
) -> float | None:
    """Share of the headroom: (method - reference) / (all labels - reference), of the means.

    Args:
        values, reference: (list, seed) -> value.
        all_labels: Seed -> value of the run with all labels, which is the same for every list.

    Returns:
        float: In percent; None if the run with all labels is not above the reference, or no run can be
        compared.
    """
    keys = [key for key in values if key in reference and key[1] in all_labels]
    gain = sum(values[key] - reference[key] for key in keys)
    headroom = sum(all_labels[key[1]] - reference[key] for key in keys)
    return 100 * gain / headroom if headroom > 0 else None


def rarest_third(results: Iterable[Result], images: str) -> list[int]:
    """Indices of the rarest third of the classes, by their pixels in the masks of the evaluated images.

    Classes without a pixel do not count. The masks of all runs are added up, so that every method has the
    same classes.
    """
    pixels: dict[int, int] = {}
    for result in results:
        for number_, count in enumerate(
            result.scores.get((images, 'last'), {}).get('all', {}).get('pixels', ())
        ):
            pixels[number_] = pixels.get(number_, 0) + count
    present = sorted((count, k) for k, count in pixels.items() if count)
    return sorted(k for _, k in present[: max(1, round(len(present) / 3))]) if present else []


def nan_mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None if there is none."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


class Comparison:
    """The numbers of a folder of runs.

    Args:
        results: The finished runs.
        reference: Methods that the others are compared with.
        all_labels: The method with all labels, or None.
        order: Methods in the order of the tables; others follow by name.
        unfinished: Folders of runs that are left out.

    Raises:
        SetupError: If there is no such method.
    """

    def __init__(
        self,
        results: Sequence[Result],
        reference: Sequence[str] = (),
        all_labels: str | None = None,
        order: Sequence[str] = (),
        unfinished: Sequence[str] = (),
    ) -> None:
        self.results = list(results)
        self.unfinished = list(unfinished)
        names = sorted({result.method for result in results})
        self.methods = [n for n in order if n in names] + [n for n in names if n not in order]
        for name in [*reference, *([all_labels] if all_labels else [])]:
            if name not in names:
                raise SetupError(
                    f'there is no finished run of {name!r}, found are {", ".join(names)}; wait for it, '
                    'or give another --reference or --all-labels'
                )
        others = [name for name in self.methods if name != all_labels]
        self.reference = list(reference) or others[:1]
        self.all_labels = all_labels

    @property
    def images(self) -> list[str]:
        """Which images were evaluated: 'val', 'test', 'pool'."""
        kinds = {images for result in self.results for images, _ in result.scores}
        return ['val', *(images for images in ('test', 'pool') if images in kinds)]

    def networks(self, method: str) -> list[str]:
        """Networks of a method, the deployed one first."""
        runs = [result for result in self.results if result.method == method]
        return runs[0].networks

    def collect(self, method: str, read: Callable[[Result], float | None]) -> dict:
        """(list, seed) -> what ``read`` finds, for the runs of a method that have it."""
        runs = [result for result in self.results if result.method == method]
        values = {(result.list, result.seed): read(result) for result in runs}
        return {key: value for key, value in values.items() if value is not None}

    def partner(self, method: str, network: str) -> str:
        """The network that a network is compared with: the one of its name, else the deployed one."""
        networks = self.networks(method)
        return network if network in networks else networks[0]

    def row(self, images: str, method: str, network: str) -> dict | None:
        """All numbers of a network of a method; None if it was not evaluated on these images."""
        rare = rarest_third(self.results, images)

        def reader(checkpoint: str, network: str) -> Callable[[Result], float | None]:
            return lambda result: result.value(images, checkpoint, network)

        def rare_reader(checkpoint: str, network: str) -> Callable[[Result], float | None]:
            def read(result: Result) -> float | None:
                entry = result.entry(images, checkpoint, network)
                return entry and nan_mean(entry['IoU'][k] for k in rare)

            return read

        last = self.collect(method, reader('last', network))
        if not last:
            return None
        row: dict[str, Any] = dict(method=method, network=network or 'network', runs=len(last))
        for checkpoint in CHECKPOINTS:
            values = self.collect(method, reader(checkpoint, network))
            row[checkpoint] = describe_values(values) if values else None
            values = self.collect(method, rare_reader(checkpoint, network))
            row[f'rare_{checkpoint}'] = describe_values(values) if values else None
        row['against'] = {}
        for reference in self.reference:
            other = self.partner(reference, network)
            found = paired(last, self.collect(reference, reader('last', other)))
            rare_pairs = paired(
                self.collect(method, rare_reader('last', network)),
                self.collect(reference, rare_reader('last', other)),
            )
            row['against'][reference] = found and dict(found, rare=rare_pairs)
        row['recovered'] = None
        if self.all_labels and method != self.all_labels:
            other = self.partner(self.all_labels, network)
            full = self.collect(self.all_labels, reader('last', other))
            base = self.partner(self.reference[0], network)
            row['recovered'] = recovered(
                last,
                self.collect(self.reference[0], reader('last', base)),
                {seed: value for (_, seed), value in full.items()},
            )
        row['classes'] = {
            checkpoint: self.mean_iou(images, checkpoint, method, network)
            for checkpoint in CHECKPOINTS
        }
        row['clips'] = {
            checkpoint: self.mean_by_clip(images, checkpoint, method, network)
            for checkpoint in CHECKPOINTS
        }
        return row

    def mean_iou(self, images: str, checkpoint: str, method: str, network: str) -> list | None:
        """IoU of each class, the mean over the runs in which it occurs."""
        runs = [result for result in self.results if result.method == method]
        entries = [result.entry(images, checkpoint, network) for result in runs]
        columns = zip(*(entry['IoU'] for entry in entries if entry), strict=True)
        return [nan_mean(column) for column in columns] or None

    def mean_by_clip(self, images: str, checkpoint: str, method: str, network: str) -> dict:
        """Clip -> mIoU, the mean over the runs that evaluated it."""
        found: dict[str, list] = {}
        for result in self.results:
            scores = result.scores.get((images, checkpoint))
            if result.method == method and scores:
                for clip, entry in scores['clips'].items():
                    values = entry['networks'].get(network or 'network')
                    found.setdefault(clip, []).append(values and values['mIoU'])
        return {clip: nan_mean(values) for clip, values in sorted(found.items())}

    def classes(self, images: str) -> list[str]:
        """Names of the classes, empty if no scores by class were measured."""
        for result in self.results:
            if (images, 'last') in result.scores:
                return result.scores[images, 'last']['classes']
        return []

    def numbers(self, kinds: Sequence[str]) -> dict:
        """All numbers of these images, as plain types."""
        tables = {}
        for images in kinds:
            names = self.classes(images)
            rows = [
                self.row(images, method, network)
                for method in self.methods
                for network in self.networks(method)
            ]
            tables[images] = dict(
                classes=names,
                rarest_third=[names[k] for k in rarest_third(self.results, images)],
                rows=[row for row in rows if row],
            )
        return dict(
            reference=self.reference,
            all_labels=self.all_labels,
            unfinished=self.unfinished,
            tables=tables,
        )


# ------------------------------------------------------------------------------------- tables


def spread(values: Mapping[str, Any] | None, sign: bool = False) -> str:
    """Mean and sample standard deviation, '-' for None."""
    if values is None:
        return '-'
    mean = number(values['mean'], sign=sign)
    return mean if values['sd'] is None else f'{mean} ± {values["sd"]:.1f}'


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names of lists without the words that all of them begin with.

    Example:
        >>> short_names(['camvid-12-seed0', 'camvid-12-seed1'])
        {'camvid-12-seed0': 'seed0', 'camvid-12-seed1': 'seed1'}
    """
    words = [name.split('-') for name in names]
    least = min(map(len, words), default=1) - 1
    common = next((i for i in range(least) if len({w[i] for w in words}) > 1), least)
    return {name: '-'.join(word[common:]) for name, word in zip(names, words, strict=True)}


def main_table(numbers: Mapping[str, Any], images: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of mIoU.

    A row is a method and a network: last (best) mIoU of each list, the means, and the paired gain over each
    reference.
    """
    rows = numbers['tables'][images]['rows']
    rare = bool(numbers['tables'][images]['rarest_third'])
    usual = [row for row in rows if row['method'] != numbers['all_labels']]
    lists = sorted({name for row in usual for name in row['last']['by_list']})
    shown = short_names(lists)
    header = [
        'method',
        'network',
        'runs',
        *shown.values(),
        'mean, last',
        'mean, best',
        'worst list',
    ]
    header += ['rarest third'] * rare
    for reference in numbers['reference']:
        header += [f'over {reference}, last', 'above', 'smallest']
        header += [f'rarest third, over {reference}'] * rare
    header += ['of the headroom'] if numbers['all_labels'] else []
    table = []
    for row in rows:
        last, best = row['last'], row['best'] or dict(by_list={})
        cells = [row['method'], row['network'], str(row['runs'])]
        for name in lists:
            values = [number(part['by_list'].get(name)) for part in (last, best)]
            cells.append('-' if values == ['-', '-'] else f'{values[0]} ({values[1]})')
        full = row['method'] == numbers['all_labels']
        worst = f'{last["worst"]:.1f} ({shown.get(last["worst_list"], last["worst_list"])})'
        cells += [spread(last), spread(row['best']), '-' if full else worst]
        cells += [spread(row['rare_last'])] * rare
        for reference in numbers['reference']:
            found = row['against'][reference]
            if found is None or row['method'] == reference:
                cells += ['-'] * (3 + rare)
                continue
            cells += [spread(found, sign=True), f'{found["above"]} of {found["pairs"]}']
            cells.append(number(found['smallest'], sign=True))
            cells += [spread(found['rare'], sign=True)] * rare
        if numbers['all_labels']:
            share = number(row['recovered'], 0)
            cells.append(share if share == '-' else f'{share} %')
        table.append(cells)
    return header, table


def class_table(numbers: Mapping[str, Any], images: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the IoU of each class, last and best."""
    content = numbers['tables'][images]
    rows = [
        [row['method'], row['network'], checkpoint, *map(number, row['classes'][checkpoint])]
        for row in content['rows']
        for checkpoint in CHECKPOINTS
        if row['classes'][checkpoint]
    ]
    return ['method', 'network', 'checkpoint', *content['classes']], rows


def clip_table(numbers: Mapping[str, Any], images: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the mIoU of each clip, last and best."""
    rows = numbers['tables'][images]['rows']
    clips = sorted({clip for row in rows for part in row['clips'].values() for clip in part})
    cells = [
        [row['method'], row['network'], checkpoint, *(number(part.get(clip)) for clip in clips)]
        for row in rows
        for checkpoint, part in row['clips'].items()
        if part
    ]
    return ['method', 'network', 'checkpoint', *clips], cells


def report(numbers: Mapping[str, Any], markdown: bool = False) -> str:
    """All tables with their titles.

    Args:
        numbers: See :meth:`Comparison.numbers`.
        markdown: Whether to write Markdown instead of aligned text.
    """
    draw = markdown_table if markdown else text_table
    parts = []
    for images, content in numbers['tables'].items():
        parts.append(f'{TITLES[images]}, mIoU in percent, last (best):')
        parts.append(draw(*main_table(numbers, images)))
        if content['rarest_third']:
            rare = ', '.join(content['rarest_third'])
            parts.append(f'Rarest third by pixels of the evaluated masks: {rare}.')
        for title, table in (
            ('IoU of each class, mean over the runs:', class_table(numbers, images)),
            ('mIoU of each clip, mean over the runs:', clip_table(numbers, images)),
        ):
            if table[1]:
                parts += [f'{TITLES[images]}, {title}', draw(*table)]
    if numbers['unfinished']:
        parts.append(f'Not finished, left out: {", ".join(numbers["unfinished"])}.')
    return '\n\n'.join(parts) + '\n'


def compare(
    folder: Path,
    pool: bool = False,
    reference: Sequence[str] | None = None,
    all_labels: str | None = None,
    footer: str = '',
    files: tuple[Path | None, Path | None] = (None, None),
) -> dict:
    """Print the tables of a folder of runs, and write them.

    Args:
        folder: With METHOD/LIST_run<seed>/.
        pool: Whether to show the unlabelled images.
        reference: Methods to compare with; None takes those of the study, or the first method.
        all_labels: The method with all labels; None takes that of the study.
        footer: Lines below the tables.
        files: Files for the tables in Markdown and for the numbers in JSON; None for no file.

    Returns:
        dict: See :meth:`Comparison.numbers`.

    Raises:
        SetupError: If there is no finished run, no such method, or no score of the unlabelled images.
    """
    results, unfinished = read_results(folder)
    path = folder / STUDY
    study = json.loads(path.read_text()) if path.is_file() else {}
    finished = {result.method for result in results}
    if reference is None:
        reference = [name for name in study.get('reference', []) if name in finished]
    if all_labels is None and study.get('all_labels') in finished:
        all_labels = study['all_labels']
    comparison = Comparison(results, reference, all_labels, study.get('methods', []), unfinished)
    found = comparison.images
    if pool and 'pool' not in found:
        raise SetupError(
            f'--pool: no run in {folder} has scores of the unlabelled images; write them with '
            'mmseg-semi test --pool, or test=dict(pool=True) in the study'
        )
    # the test set holds more than the validation, mostly of the same images
    kinds = ['test' if 'test' in found else 'val'] + ['pool'] * pool
    numbers = comparison.numbers(kinds)
    markdown, as_json = files
    if markdown:
        text = report(numbers, markdown=True)
        write_whole(markdown, f'{text}\n{footer}' if footer else text)
    if as_json:
        write_whole(as_json, json.dumps(numbers, indent=1) + '\n')
    print(report(numbers) + (f'\n{footer}' if footer else ''))
    return numbers


# ------------------------------------------------------------------------------------ command


def name_of(config: str) -> str:
    """configs/ddfp/reference/camvid_46_small.py -> ddfp/reference/camvid_46_small."""
    parts = find_config(config).with_suffix('').parts
    return '/'.join(parts[parts.index('configs') + 1 :] if 'configs' in parts else parts[-2:])


def origin(lists: Path) -> str:
    """The origin of lists: their protocol, their count and the begin of the labelled hash."""
    manifest = read_manifest(lists) or {}
    labeled = summarize_file(lists / 'labeled.txt')
    count = f'{labeled["count"]} labelled'
    name = manifest.get('protocol', 'of no named protocol')
    return f'`{lists}`: {name}, {count}, SHA-256 {labeled["sha256"][:12]}'


def runs_of(args: argparse.Namespace) -> list[Run]:
    """The runs of configs on lists."""
    return [
        Run(
            method=name_of(config),
            config=config,
            split=str(lists),
            seed=seed,
            folder=args.out / name_of(config) / f'{lists.name}_run{seed}',
            options=tuple(args.cfg_options),
            amp=args.amp,
        )
        for lists, seed, config in itertools.product(args.lists, args.seeds, args.sources)
    ]


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    files = (args.markdown, args.json)
    if not args.lists:
        folder = Path(args.sources[0])
        if len(args.sources) > 1 or not folder.is_dir():
            raise SetupError(
                f'{" ".join(args.sources)} is no folder of runs; give one folder, or configs with '
                '--lists and --out'
            )
        compare(folder, args.pool, args.reference, args.all_labels, files=files)
        return
    if args.out is None:
        raise SetupError('--lists without --out: give the folder of the runs and of the table')
    runs = runs_of(args)
    folders = [run.folder for run in runs]
    if len(set(folders)) < len(folders):
        raise SetupError(
            '--lists or configs share a name, and their runs would share a folder; compare them in '
            'two commands'
        )
    finish_all(runs, args.jobs, Evaluation(pool=args.pool))
    names = [name_of(config) for config in args.sources]
    order = dict(methods=names, reference=args.reference or names[:1], all_labels=args.all_labels)
    write_whole(args.out / STUDY, json.dumps(order, indent=1) + '\n')
    footer = ''.join(f'- {origin(lists)}\n' for lists in args.lists)
    compare(
        args.out,
        args.pool,
        footer=footer,
        files=(args.markdown or args.out / 'table.md', args.json or args.out / 'table.json'),
    )
