"""The update of the EMA teacher against one fused lerp over the same tensors."""

from typing import Any

import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.benchmarks import Benchmark, Subject
from mmseg_semi.runtime.measuring import MIB, measure_calls, stored_bytes
from mmseg_semi.step.hooks import MeanTeacherHook


def measure(subject: Subject) -> dict[str, Any]:
    """Time the EMA update and one fused lerp over parameters and floating-point buffers.

    Raises:
        SetupError: If the config has no EMA teacher.
    """
    step, args = subject.step, subject.args
    runner, model = step.runner, step.runner.model
    hook = next((hook for hook in runner.hooks if isinstance(hook, MeanTeacherHook)), None)
    if hook is None or model.teacher is None or model.recipe.weights != 'ema':
        raise SetupError(
            "--measure teacher needs a config with model.teacher.weights='ema' and MeanTeacherHook"
        )
    into, source = (
        [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]
        for network in (model.teacher, model.student)
    )

    def fused() -> None:
        with torch.no_grad():
            torch._foreach_lerp_(into, source, 0.001)

    calls = {'hook': lambda: MeanTeacherHook.after_train_iter(hook, runner, 0), 'lerp': fused}
    result = measure_calls(calls, step.device, args.iters, args.warmup, args.cpu_time)
    result.update(config=step.about['config'], tensors=len(into), bytes=stored_bytes(into))
    return result


def report(result: dict[str, Any]) -> None:
    """Print the result of :func:`measure`."""
    hook, lerp = (result['seconds'][name] * 1e3 for name in ('hook', 'lerp'))
    print(
        f'{result["config"]}: {result["tensors"]} tensors, {result["bytes"] / MIB:.1f} MiB\n'
        f'MeanTeacherHook {hook:.2f} ms, one fused lerp {lerp:.2f} ms\n'
        f'hook / lerp: {result["ratio_text"]}'
    )


BENCHMARK = Benchmark(
    "MeanTeacherHook's update against one fused lerp over the same tensors", measure, report
)
