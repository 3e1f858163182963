"""Time, arithmetic and memory of one or two training steps by part."""

import argparse
import statistics
from dataclasses import asdict
from functools import partial
from typing import Any

from mmseg_semi.cli.benchmark.training_step import TrainingStep
from mmseg_semi.runtime.measuring import (
    MIB,
    Ratio,
    count_flops,
    in_order,
    interleave,
    timed,
    trace_memory,
)


def measure_steps(steps: list[TrainingStep], args: argparse.Namespace) -> dict:
    """Time, arithmetic and memory of one or two training steps."""
    on_gpu = steps[0].device.type == 'cuda'
    runs = interleave([step.timed for step in steps], args.iters, args.warmup)
    totals = [[sum(run.values()) for run in own] for own in runs]
    if (
        on_gpu
    ):  # reading the clock at every part stops the host from running ahead: totals without it
        totals = interleave([partial(timed, step, step.device) for step in steps], args.iters, 1)
    result: dict[str, Any] = {'steps': []}
    for step, own, total in zip(steps, runs, totals, strict=True):
        names = in_order(own)
        memory = trace_memory(step, step.device)
        result['steps'].append(
            dict(
                step.about,
                seconds=statistics.median(total),
                parts={n: statistics.median(run.get(n, 0.0) for run in own) for n in names},
                flops=count_flops(step),
                stored=step.stored(),
                memory=asdict(memory),
                runs=own,
                totals=total,
            )
        )
    for own in result['steps']:
        own['peak'] = sum(own['stored'].values()) + own['memory']['rise']
    if len(steps) == 2:
        a, b = result['steps']
        result['ratio'] = asdict(Ratio.of(*totals))
        result['ratio_text'] = str(Ratio.of(*totals))
        result['ratio_flops'] = sum(a['flops'].values()) / sum(b['flops'].values())
        result['ratio_peak'] = a['peak'] / b['peak']
    return result


def print_steps(result: dict) -> None:
    """Print the result of :func:`measure_steps` as a table."""
    for letter, own in zip('AB', result['steps'], strict=False):
        print(
            f'{letter}: {own["config"]}; batch {" + ".join(map(str, own["batch"]))}, crop '
            f'{own["crop"][0]} x {own["crop"][1]}, iteration {own["iteration"]}; images '
            f'{own["images"]}'
        )
    letters = 'AB'[: len(result['steps'])]
    names = in_order(own['parts'] for own in result['steps'])
    print()
    print(
        f'{"part":32s}'
        + ''.join(f'{f"{x} ms":>12s}{f"{x} GFLOP":>12s}{f"{x} MiB":>10s}' for x in letters)
    )
    for name in names:
        print(f'{name:32s}' + ''.join(columns(own, name) for own in result['steps']))
    print(f'{"step":32s}' + ''.join(columns(own) for own in result['steps']))
    print()
    print(
        'ms: medians over the runs, each part by itself; MiB: peak above the stored bytes, while '
        'in the part'
    )
    for letter, own in zip('AB', result['steps'], strict=False):
        stored = ', '.join(f'{name} {size / MIB:.1f}' for name, size in own['stored'].items())
        memory = own['memory']
        largest = (
            ''
            if memory['largest'] is None
            else f', largest allocation {memory["largest"] / MIB:.1f}'
        )
        print(
            f'{letter} peak memory {own["peak"] / MIB:.1f} MiB = stored ({stored}) + step '
            f'{memory["rise"] / MIB:.1f}{largest}; kept after the step {memory["kept"] / MIB:.2f}'
        )
    if 'ratio' in result:
        print(f'A / B: time {result["ratio_text"]}')
        print(
            f'A / B: arithmetic {result["ratio_flops"]:.3f}, peak memory {result["ratio_peak"]:.3f}'
        )


def columns(own: dict, name: str | None = None) -> str:
    """One config's columns in the row of a part, or in the last row (None)."""
    if name is None:
        flops, rise = sum(own['flops'].values()), own['memory']['rise']
        return f'{own["seconds"] * 1e3:12.1f}{flops / 1e9:12.1f}{rise / MIB:10.1f}'
    time, flops = own['parts'].get(name), own['flops'].get(name, 0)
    rise = own['memory']['parts'].get(name)
    return (
        f'{"" if time is None else f"{time * 1e3:.1f}":>12s}'
        f'{f"{flops / 1e9:.1f}" if flops else "":>12s}'
        f'{"" if rise is None else f"{rise / MIB:.1f}":>10s}'
    )
