"""CCT's auxiliary decoders, forward and backward, against the plain loop over them."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.cct.benchmarks.reference import Branch, plain_loop
from mmseg_semi.methods.cct.objective import CCTObjective
from mmseg_semi.methods.cct.perturbations.guided import Guidance
from mmseg_semi.methods.cct.perturbations.modules import VirtualAdversarial
from mmseg_semi.runtime.benchmarks import Benchmark, Step, Subject
from mmseg_semi.runtime.measuring import MIB, count_flops, measure_calls, trace_memory
from mmseg_semi.step.views import (
    Batch,
    StepViews,
    StudentOutputs,
    StudentViews,
    UnlabeledBatch,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--alone``."""
    parser.add_argument(
        '--alone', action='store_true', help='--measure auxiliary: without the plain loop beside it'
    )


def measure(subject: Subject) -> dict[str, Any]:
    """CCT's consistency on random features and predictions, with its backward pass, in both forms.

    The plain loop runs one decoder after the other on its own copy of the features, then one
    backward pass through all of them.

    Raises:
        SetupError: If the config has no CCTObjective.
    """
    step, args = subject.step, subject.args
    model = step.runner.model
    objective = next(
        (o for o in getattr(model, 'objectives', ()) if isinstance(o, CCTObjective)), None
    )
    if objective is None:
        raise SetupError(
            '--measure auxiliary needs a config with a CCTObjective, such as those of configs/cct/'
        )
    count, crop = step.about['batch'][-1], step.about['crop']
    z, logits = random_outputs(step)
    valid = torch.ones(count, *crop, dtype=torch.bool, device=step.device)

    def views() -> StepViews:
        batch = Batch(
            img_l=z,
            label_l=valid,
            unlabeled=UnlabeledBatch(z, z, valid),
            generator=torch.Generator().manual_seed(0),
        )
        return StepViews(batch, student=StudentViews(weak=StudentOutputs((), z, z, z, logits)))

    def finish(loss: Tensor) -> None:
        loss.backward()
        z.grad = None
        objective.zero_grad(set_to_none=True)

    def ours() -> None:
        finish(objective.compute(views())['loss'])

    def loop() -> None:
        own = views()
        guidance = Guidance(logits, own.batch.generator, tuple(crop), objective.background_classes)
        branches = branches_of(objective, z, guidance)
        losses = plain_loop(z, logits.softmax(dim=1), branches, compare)
        finish(sum(losses) / sum(objective.counts))

    forms = {'objective': ours} if args.alone else {'objective': ours, 'plain loop': loop}
    result = measure_calls(forms, step.device, args.iters, args.warmup, args.cpu_time)
    result.update(
        config=step.about['config'],
        images=count,
        crop=crop,
        decoders=sum(objective.counts),
        memory={name: asdict(trace_memory(run, step.device)) for name, run in forms.items()},
        flops={name: sum(count_flops(run).values()) for name, run in forms.items()},
    )
    return result


def random_outputs(step: Step) -> tuple[Tensor, Tensor]:
    """Random features with a gradient and random logits of the student, for the unlabelled images."""
    model, count, crop = step.runner.model, step.about['batch'][-1], step.about['crop']
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.eval()
        probe = model.student.extract_feat(torch.zeros(1, 3, 64, 64, device=step.device))
        fused = model.stages.embed(probe)
        scores = model.stages.finish(model.stages.lift(fused)).logits
        model.train()
    cells = [-(-side * fused.shape[2] // 64) for side in crop]
    pixels = [side * scores.shape[2] // fused.shape[2] for side in cells]
    z = torch.randn(count, fused.shape[1], *cells, generator=generator).abs().to(step.device)
    # blocks of a few cells, as in the predictions of a network
    blocks = torch.randn(
        count, scores.shape[1], *(side // 4 + 1 for side in cells), generator=generator
    )
    logits = F.interpolate(8 * blocks, pixels, mode='bilinear').to(step.device)
    return z.requires_grad_(), logits


def branches_of(
    objective: CCTObjective, features: Tensor, guidance: Guidance
) -> Iterator[tuple[Branch, Branch]]:
    """Each auxiliary decoder of the objective: how it perturbs the features, how it decodes them.

    The decoders use the objective's stacked weights, so that gradients reach them.
    """
    for module, decoders in zip(objective.perturbations, objective.decoders, strict=True):
        draw = None
        if not isinstance(module, VirtualAdversarial):
            draw = module.draw(features, guidance, len(decoders))
        for k in range(len(decoders)):

            def decode(x: Tensor, decoders=decoders, k: int = k) -> Tensor:
                x = F.conv2d(x, decoders.project[k, :, :, None, None])
                for weight, bias in zip(decoders.weights, decoders.biases, strict=True):
                    x = F.pixel_shuffle(F.conv2d(x, weight[k, :, :, None, None], bias[k]).relu(), 2)
                return x

            guidance.decode = decode
            if draw is None:
                yield partial(module, guidance=guidance), decode
            else:
                yield partial(draw.apply, index=k), decode


def compare(scores: Tensor, target: Tensor) -> Tensor:
    """The mean squared distance over all pixels, without a mask."""
    if scores.shape[2:] != target.shape[2:]:
        target = F.interpolate(target, scores.shape[2:], mode='bilinear')
    return F.mse_loss(scores.softmax(dim=1), target)


def report(result: dict[str, Any]) -> None:
    """Print the result of :func:`measure`."""
    print(
        f'{result["config"]}: {result["decoders"]} decoders, {result["images"]} images, crop '
        f'{result["crop"][0]} x {result["crop"][1]}'
    )
    for name, seconds in result['seconds'].items():
        rise = result['memory'][name]['rise'] / MIB / result['images']
        print(
            f'{name:11s} {seconds * 1e3:10.1f} ms, {result["flops"][name] / 1e9:8.1f} GFLOP, '
            f'peak {rise:8.1f} MiB an image'
        )
    if 'ratio' in result:
        print(f'objective / plain loop: time {result["ratio_text"]}')


BENCHMARK = Benchmark(
    "CCT's auxiliary decoders, forward and backward, against the plain loop over them",
    measure,
    report,
    add_arguments,
)
