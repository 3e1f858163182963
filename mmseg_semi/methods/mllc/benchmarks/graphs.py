"""A round of MLLC's label correction with its backward pass, against its dense N x N form."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.mllc.benchmarks.reference import dense_round
from mmseg_semi.methods.mllc.graphs import GraphRound, Level, to_maps, to_nodes
from mmseg_semi.runtime.benchmarks import Benchmark, Subject
from mmseg_semi.runtime.measuring import MIB, Memory, count_flops, measure_calls, trace_memory
from mmseg_semi.step.parts import part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--grid``."""
    parser.add_argument(
        '--grid',
        type=int,
        nargs=2,
        default=(33, 65),
        metavar='N',
        help='--measure graphs: nodes, down and across; default 33 65',
    )


def measure(subject: Subject) -> dict[str, Any]:
    """One round with its backward pass on random logits and features of one image, in both forms.

    Raises:
        SetupError: If the config's head has no rounds of label correction.
    """
    cfg, args = subject.cfg, subject.args
    device = torch.device(get_device())
    init_default_scope('mmseg')
    head = revert_sync_batchnorm(MODELS.build(cfg.model.student.decode_head)).to(device)
    if not len(getattr(head, 'rounds', ())):
        raise SetupError(
            '--measure graphs needs a config with rounds of label correction, such as those of '
            'configs/mllc/'
        )
    one, (height, width) = head.rounds[0], args.grid
    generator = torch.Generator().manual_seed(0)
    # blocks of a few cells, as in the predictions of a network
    small = height // 4 + 1, width // 4 + 1
    level = Level(
        *(
            F.interpolate(
                torch.randn(1, channels, *small, generator=generator),
                (height, width),
                mode='nearest',
            )
            .add(0.3 * torch.randn(1, channels, height, width, generator=generator))
            .to(device)
            .requires_grad_()
            for channels in (head.num_classes, head.embedding_channels)
        )
    )
    thresholds = torch.full((head.num_classes,), 0.5, dtype=torch.float64, device=device)

    def run(form: Callable) -> None:
        out = form(one, level, thresholds)
        with part('backward'):
            (out.logits.sum() + out.features.sum()).backward()
        for tensor in level:
            tensor.grad = None
        head.zero_grad()

    forms = {'lists': partial(run, GraphRound.forward), 'dense': partial(run, dense_form)}
    result = measure_calls(forms, device, args.iters, args.warmup, args.cpu_time)
    result.update(
        config=cfg.filename,
        grid=[height, width],
        top_k=one.top_k,
        memory={name: asdict(trace_memory(form, device)) for name, form in forms.items()},
        flops={name: sum(count_flops(form).values()) for name, form in forms.items()},
    )
    return result


def dense_form(one: GraphRound, level: Level, thresholds: Tensor) -> Level:
    """:func:`dense_round` of the one image of a level."""
    size = level.logits.shape[2:]
    logits, features = (to_nodes(maps)[0] for maps in level)
    logits, features = dense_round(one, logits, features, thresholds)
    return Level(to_maps(logits[None], size), to_maps(features[None], size))


def report(result: dict[str, Any]) -> None:
    """Print the result of :func:`measure`."""
    height, width = result['grid']
    print(
        f'{result["config"]}: a round on {height} x {width} nodes, {result["top_k"]} neighbours, '
        'with its backward pass'
    )
    for name, seconds in result['seconds'].items():
        memory = Memory(**result['memory'][name])
        print(
            f'{name:5s} {seconds * 1e3:10.1f} ms, {result["flops"][name] / 1e9:9.2f} GFLOP, '
            f'peak {memory.rise / MIB:8.1f} MiB'
        )
    print(f'lists / dense: time {result["ratio_text"]}')


BENCHMARK = Benchmark(
    'a round of label correction with its backward pass, beside its dense N x N form',
    measure,
    report,
    add_arguments,
)
