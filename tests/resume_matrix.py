"""python tests/resume_matrix.py [NAME ...] [--json FILE]: runs that go on from each of their checkpoints, in all combinations.

For each way of training, on one and on two ranks, with one and with two iterations an update: a run of eight iterations writes
a checkpoint after every update. From each of these, with 0 and with 2 workers, a run goes on, is stopped two updates later,
goes on again to the end, and must equal the first one bit for bit in all that it saves.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_semi import METHODS, tiny_data
from whole_runs import (
    ROOT,
    assert_same_checkpoint,
    logged,
    make_light,
    on_ranks,
    one_block_a_stage,
    train,
)

from mmseg_semi.cli.analysis.trainings import circumstances
from mmseg_semi.runtime import configs, devices

# the projects and their tests lie in folders that pytest alone would find
sys.path += [str(ROOT / 'tests/projects'), str(ROOT / 'tests/projects/weak_labels')]
configs.find_projects()
from test_weak_runs import weak_config  # noqa: E402  (see above)
from tiny_domains import tiny_domains  # noqa: E402  (see above)

ITERATIONS = 8
ALTERNATE = dict(schedule='alternate', turns=dict(road=1, scenes=2), iters_per_epoch=2)


def with_model(method: str, **changes) -> Callable[[Path], Config]:
    return lambda folder: tiny_data(folder, method, iterations=ITERATIONS, model=changes)


def with_domains(*methods: str, **options) -> Callable[[Path], Config]:
    return lambda folder: tiny_domains(
        folder, methods=methods, iterations=ITERATIONS, options=options
    )


def with_weak_masks(method: str) -> Callable[[Path], Config]:
    return lambda folder: weak_config(folder, method, iterations=ITERATIONS)


ROWS = {
    **{method: with_model(method) for method in METHODS},
    'dgcl_reference': with_model('dgcl_reference'),
    'mllc_reference': with_model('mllc_reference'),
    'augseg': with_model('fixmatch', mixing=dict(type='AdaptiveCutMix', prob=0.5)),
    'domains, jointly': with_domains('ddfp_dgcl', 'fixmatch'),
    'domains, alternately': with_domains('ddfp_dgcl', 'fixmatch', **ALTERNATE),
    'domains, cct jointly': with_domains('cct', 'cct'),
    'domains, mllc alternately': with_domains('mllc', 'mllc', **ALTERNATE),
    'weak masks, cct': with_weak_masks('cct'),
    'weak masks, ddfp': with_weak_masks('ddfp'),
}
"""Ways of training by name, each a function from an empty folder to a config."""


def prepare(cfg: Config, counts: int) -> None:
    """A checkpoint after every update, all of them kept, and a validation in the middle."""
    cfg.optim_wrapper.accumulative_counts = counts
    cfg.train_cfg.val_interval = ITERATIONS // 2
    cfg.default_hooks.checkpoint.update(interval=counts, max_keep_ckpts=-1, save_best=None)
    cfg.dump(cfg.filename)


def go_on_from_each(
    rank: int, path: str, folder: Path, ranks: int, counts: int, workers: tuple[int, ...]
) -> list[str]:
    """On a rank: the whole run, then the others; returns the names of those that end elsewhere, with the first difference."""
    cfg = Config.fromfile(path)
    if ranks > 1:
        devices.init_distributed(cfg, 'pytorch')
    differences = []
    with pytest.MonkeyPatch.context() as patch:
        one_block_a_stage(patch)
        train(cfg, folder / 'whole')
        for count in workers:
            cfg.train_dataloader.update(num_workers=count, persistent_workers=count > 0)
            for start in range(counts, ITERATIONS, counts):
                parts = folder / f'from{start}_workers{count}'
                if rank == 0:
                    parts.mkdir()
                    shutil.copy(folder / f'whole/iter_{start}.pth', parts)
                if ranks > 1:
                    torch.distributed.barrier()
                stop = start + 2 * counts
                if stop < ITERATIONS:
                    train(cfg, parts, resume=True, stop=stop)
                train(cfg, parts, resume=True)
                if rank == 0:
                    final = f'iter_{ITERATIONS}.pth'
                    try:
                        assert_same_checkpoint(folder / 'whole' / final, parts / final)
                    except AssertionError as error:
                        differences.append(f'{parts.name}: {str(error).splitlines()[0]}')
                    shutil.rmtree(parts)
    return differences


def run_row(
    name: str, ranks: int, counts: int, workers: tuple[int, ...], folder: Path
) -> dict[str, object]:
    """One way of training, on a number of ranks, with a number of iterations an update.

    Returns:
        The row's settings, 'checkpoints' gone on from, 'runs' that went on, 'losses' that were above 0, and the 'differences'.
    """
    cfg = ROWS[name](folder)
    prepare(cfg, counts)
    arguments = (cfg.filename, folder, ranks, counts, workers)
    if ranks == 1:
        differences = go_on_from_each(0, *arguments)
    else:
        differences = on_ranks(go_on_from_each, ranks, *arguments, timeout=1200)[0]
    checkpoints = ITERATIONS // counts - 1
    state = torch.load(folder / f'whole/iter_{ITERATIONS}.pth', weights_only=True)
    losses = [
        key.removeprefix('train/')
        for key in state['message_hub']['log_scalars']
        if key.startswith('train/') and key.endswith('loss')
    ]
    return dict(
        name=name,
        ranks=ranks,
        iterations_an_update=counts,
        workers=list(workers),
        checkpoints=checkpoints,
        runs=checkpoints * len(workers),
        losses=[key for key in losses if logged(state, key)[-1] > 0],
        differences=differences,
    )


def summary(rows: list[dict], began: float) -> dict[str, object]:
    """What a file of results holds: the rows so far, their sums, and what they were made with."""
    return dict(
        **circumstances(),
        minutes=round((time.time() - began) / 60, 1),
        runs=sum(row['runs'] for row in rows),
        differ=sum(len(row['differences']) for row in rows),
        rows=rows,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python tests/resume_matrix.py', description=__doc__)
    parser.add_argument('names', nargs='*', metavar='NAME', help='rows; default: all')
    both = dict(nargs='+', type=int, metavar='N')
    parser.add_argument('--ranks', default=[1, 2], help='numbers of ranks; default: 1 2', **both)
    parser.add_argument(
        '--workers', default=[0, 2], help='numbers of workers; default: 0 2', **both
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results here')
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.names if name not in ROWS]:
        parser.error(f"'{unknown[0]}' is no row; there are {', '.join(map(repr, ROWS))}")
    make_light()
    began, rows = time.time(), []
    for name in args.names or ROWS:
        for ranks in args.ranks:
            for counts in (1, 2):
                with tempfile.TemporaryDirectory() as folder:
                    row = run_row(name, ranks, counts, tuple(args.workers), Path(folder))
                rows.append(row)
                if args.json:  # also of a command that is interrupted
                    args.json.write_text(json.dumps(summary(rows, began), indent=1))
                verdict = 'equal' if not row['differences'] else '; '.join(row['differences'])
                print(
                    f'{name}, ranks {ranks}, iterations an update {counts}: {row["runs"]} runs, {verdict}; '
                    f'losses {", ".join(row["losses"])}',
                    flush=True,
                )
    different = sum(len(row['differences']) for row in rows)
    print(f'{sum(row["runs"] for row in rows)} runs went on, {different} of them differ')
    return 1 if different else 0


if __name__ == '__main__':
    sys.exit(main())
