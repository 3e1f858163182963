"""Time, arithmetic and memory of DGCL's density, loss and bank update with full banks."""

import argparse
import statistics
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.dgcl.knn import knn_density
from mmseg_semi.methods.dgcl.objective import DGCLObjective
from mmseg_semi.runtime.benchmarks import Benchmark, Step, Subject
from mmseg_semi.runtime.measuring import (
    MIB,
    Memory,
    Meter,
    clock,
    count_flops,
    in_order,
    interleave,
    stored_bytes,
    trace_memory,
)
from mmseg_semi.step.parts import part
from mmseg_semi.step.views import (
    Batch,
    StepViews,
    StudentOutputs,
    StudentViews,
    TeacherOutputs,
    TeacherViews,
    UnlabeledBatch,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--present``."""
    parser.add_argument(
        '--present',
        type=int,
        metavar='N',
        help='--measure contrast: classes in the label map; default all of them',
    )


def prepare(model: nn.Module) -> None:
    """Fill the banks of a model with random rows: they are full from early in a run on."""
    for objective in getattr(model, 'objectives', ()):
        if isinstance(objective, DGCLObjective):
            fill_bank(objective.bank)


def fill_bank(bank: nn.Module) -> None:
    """Fill a class bank with random rows."""
    bank.features.copy_(F.normalize(torch.rand_like(bank.features, dtype=torch.float32), dim=2))
    bank.embeddings.normal_()
    bank.densities.uniform_()
    bank.counts.fill_(bank.size)


def contrast_views(step: Step, args: argparse.Namespace) -> StepViews:
    """Random maps at a quarter of the crop, and a label map with equally frequent classes."""
    model = step.runner.model
    objective = next(o for o in model.objectives if isinstance(o, DGCLObjective))
    (number_l, number_u), crop = step.about['batch'], step.about['crop']
    side = tuple(-(-length // 4) for length in crop)
    generator = torch.Generator().manual_seed(0)
    present = args.present or model.num_classes

    def maps(number: int, channels: int) -> Tensor:
        return torch.randn(number, channels, *side, generator=generator).to(step.device)

    def outputs(number: int) -> StudentOutputs:
        empty = torch.empty(0)
        features = maps(number, objective.bank.features.shape[2]).relu_()
        projection = maps(number, objective.bank.embeddings.shape[2]).requires_grad_()
        return StudentOutputs((), empty, empty, features, empty, projection=projection)

    logits = maps(number_u, model.num_classes)
    logits[:, present:] -= 100
    label = torch.randint(0, present, (number_l, *crop), generator=generator)
    valid = torch.ones(number_u, *crop, dtype=torch.bool, device=step.device)
    batch = Batch(
        img_l=torch.empty(0),
        label_l=label.to(step.device),
        unlabeled=UnlabeledBatch(torch.empty(0), torch.empty(0), valid),
        iteration=step.about['iteration'],
        time=step.about['iteration'] / model.iters_per_epoch,
        generator=generator,
    )
    return StepViews(
        batch,
        TeacherViews(TeacherOutputs(logits)),
        StudentViews(labeled=outputs(number_l), weak=outputs(number_u)),
    )


def measure(subject: Subject) -> dict[str, Any]:
    """All that DGCL's objective computes in a step: loss, backward pass, bank update.

    Raises:
        SetupError: If the config has no DGCLObjective.
    """
    step, args = subject.step, subject.args
    model = step.runner.model
    objective = next(
        (o for o in getattr(model, 'objectives', ()) if isinstance(o, DGCLObjective)), None
    )
    if objective is None:
        raise SetupError(
            '--measure contrast needs a config with a DGCLObjective, such as those of configs/dgcl/'
        )
    views = contrast_views(step, args)
    maps = (views.student.labeled, views.student.weak)

    def contrast() -> None:
        for rows in maps:
            rows.projection.grad = None
        with part('loss'):
            loss = objective.compute(views)['loss']
        with part('backward'):
            loss.backward()
        objective.after_step(views)
        for rows in maps:
            rows.projection.grad = None

    def timed() -> dict[str, float]:
        with Meter(clock(step.device, args.cpu_time)) as meter:
            contrast()
        return meter.sums

    (runs,) = interleave([timed], args.iters, args.warmup)
    labels = objective.label_map(views)
    pixels = torch.bincount(labels[labels != IGNORE], minlength=model.num_classes)
    bank = objective.bank
    return dict(
        config=step.about['config'],
        seconds=statistics.median(sum(run.values()) for run in runs),
        parts={name: statistics.median(run[name] for run in runs) for name in in_order(runs)},
        flops=sum(count_flops(contrast).values()),
        memory=asdict(trace_memory(contrast, step.device)),
        bank=[*bank.features.shape],
        bytes_bank=stored_bytes(bank.state_dict().values()),
        grid=[*views.student.labeled.features.shape[2:]],
        batch=step.about['batch'],
        present=int((pixels > 0).sum()),
        labeled_pixels=int(pixels.sum()),
        bfloat16_error=bfloat16_error(objective, views),
        runs=runs,
    )


@torch.no_grad()
def bfloat16_error(objective: nn.Module, views: StepViews, count: int = 1000) -> dict[str, float]:
    """The effect of a bank in bfloat16 on the densities of one class's features."""
    rows = views.student.labeled.features[0].flatten(1).T[:count].contiguous()
    bank = objective.bank.features[-1].float()
    exact, rounded = (
        knn_density(rows, own, objective.bank.scales) for own in (bank, bank.bfloat16())
    )
    sparse = min(objective.anchors, len(rows))
    sets = [set(d.argsort()[:sparse].tolist()) for d in (exact, rounded)]
    return dict(
        largest=float((exact - rounded).abs().max()),
        spread=float(exact.std()),
        same_anchors=len(sets[0] & sets[1]) / sparse,
    )


def report(result: dict[str, Any]) -> None:
    """Print the result of :func:`measure`."""
    memory, (k, m, c) = Memory(**result['memory']), result['bank']
    print(
        f'{result["config"]}: {k} classes x {m} x {c}, {result["bytes_bank"] / MIB:.1f} MiB; maps '
        f'of {" + ".join(map(str, result["batch"]))} x {result["grid"][0]} x {result["grid"][1]}, '
        f'{result["labeled_pixels"]} pixels of {result["present"]} classes\n'
        f'{result["seconds"] * 1e3:.1f} ms, {result["flops"] / 1e9:.1f} GFLOP: '
        + ', '.join(f'{name} {value * 1e3:.1f}' for name, value in result['parts'].items())
        + f'\npeak {memory.rise / MIB:.1f} MiB above banks and maps'
    )
    error = result['bfloat16_error']
    print(
        f'bank in bfloat16: densities off by at most {error["largest"]:.1e} (their deviation: '
        f'{error["spread"]:.1e}), {100 * error["same_anchors"]:.1f} % of the anchors the same'
    )


BENCHMARK = Benchmark(
    "DGCL's density, loss with its gradient, and bank update on one step's maps",
    measure,
    report,
    add_arguments,
)
