"""Time, arithmetic and memory of the flow's likelihood and its gradient."""

from dataclasses import asdict
from typing import Any

import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.ddfp.mixture import UNLABELED
from mmseg_semi.methods.ddfp.objective import DDFPObjective
from mmseg_semi.runtime.benchmarks import Benchmark, Subject
from mmseg_semi.runtime.measuring import MIB, Memory, count_flops, measure_calls, trace_memory


def measure(subject: Subject) -> dict[str, Any]:
    """Negative log-likelihood and its gradient on the samples of one step, half of them labelled.

    Raises:
        SetupError: If the config has no density.
    """
    step, args = subject.step, subject.args
    objectives = getattr(step.runner.model, 'objectives', ())
    objective = next((o for o in objectives if isinstance(o, DDFPObjective)), None)
    if objective is None:
        raise SetupError(
            '--measure flow needs a config with a density, such as those of configs/ddfp/'
        )
    density, count = objective.density, objective.samples
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, density.channels, generator=generator).to(step.device)
    components = torch.randint(0, density.num_components, (count,), generator=generator)
    components[count // 2 :] = UNLABELED
    components = components.to(step.device)

    def fit() -> None:
        with density.trainable():
            torch.autograd.grad(density.nll(x, components), [*density.parameters()])

    result = measure_calls({'flow': fit}, step.device, args.iters, args.warmup, args.cpu_time)
    result.update(
        config=step.about['config'],
        size=[count, density.num_components, density.channels],
        memory=asdict(trace_memory(fit, step.device)),
        bytes_nkc=4 * count * density.num_components * density.channels,
        flops=sum(count_flops(fit).values()),
    )
    return result


def report(result: dict[str, Any]) -> None:
    """Print the result of :func:`measure`."""
    n, k, c = result['size']
    memory = Memory(**result['memory'])
    largest = (
        '' if memory.largest is None else f'largest allocation {memory.largest / MIB:.1f} MiB, '
    )
    print(
        f'{result["config"]}: {n} features of {c} channels, {k} components\n'
        f'likelihood and gradient {result["seconds"]["flow"] * 1e3:.1f} ms, '
        f'{result["flops"] / 1e9:.1f} GFLOP; {largest}peak {memory.rise / MIB:.1f} MiB above the '
        f'samples\n(one N x K x C tensor would have {result["bytes_nkc"] / MIB:.1f} MiB)'
    )


BENCHMARK = Benchmark(
    'likelihood of the flow and its gradient on the samples of a step', measure, report
)
