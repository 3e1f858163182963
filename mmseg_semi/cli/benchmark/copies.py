"""The copies of tensors in a training step: how many, how large, in which part, by which operation."""

from collections import defaultdict
from math import prod
from typing import Any

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.benchmarks import Benchmark, Subject
from mmseg_semi.runtime.measuring import Copy, list_copies
from mmseg_semi.step.parts import PREFIX

_NODE = 'autograd::engine::evaluate_function: '
_PLUMBING = ('aten::_to_copy', 'aten::to', 'aten::clone', 'aten::contiguous')


def measure(subject: Subject) -> dict[str, Any]:
    """Count the copies of one step after the warm-up, by part, operation and kind.

    Raises:
        SetupError: If the step runs on a GPU, whose copies the profiler records elsewhere.
    """
    step = subject.step
    if step.device.type != 'cpu':
        raise SetupError(
            f'--measure copies counts on the CPU, but the step runs on {step.device}; set CUDA_VISIBLE_DEVICES=-1'
        )
    for _ in range(subject.args.warmup):
        step()
    return dict(step.about, copies=group(list_copies(step)))


def group(copies: list[Copy]) -> list[dict[str, Any]]:
    """Rows of part, operation, kind, number of copies and of copied elements, the most elements first.

    Example:
        >>> group([Copy(('semi/student', 'aten::cat', 'aten::copy_'), (2, 3), 'plain')])[0]['part']
        'student'
    """
    rows: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for copy in copies:
        row = rows[part_of(copy.path), operation_of(copy.path), copy.kind]
        row[0] += 1
        row[1] += prod(copy.shape)
    return [
        dict(part=part, operation=operation, kind=kind, copies=number, elements=elements)
        for (part, operation, kind), (number, elements) in sorted(
            rows.items(), key=lambda item: -item[1][1]
        )
    ]


def part_of(path: tuple[str, ...]) -> str:
    """The innermost part of the step around a copy."""
    parts = [name.removeprefix(PREFIX) for name in path if name.startswith(PREFIX)]
    return parts[-1] if parts else 'outside of the parts'


def operation_of(path: tuple[str, ...]) -> str:
    """The operation that made a copy: the node of the backward pass, or else the outermost of torch's operations in its part."""
    nodes = [name.removeprefix(_NODE) for name in path if name.startswith(_NODE)]
    if nodes:
        return nodes[-1]
    parts = [index for index, name in enumerate(path) if name.startswith(PREFIX)]
    inside = [name for name in path[parts[-1] + 1 if parts else 0 :] if '::' in name]
    named = [name for name in inside if name not in _PLUMBING]
    return (named or inside or ['aten::copy_'])[0].removeprefix('aten::')


def report(result: dict[str, Any]) -> None:
    """Print the result of :func:`measure`."""
    rows = result['copies']
    total = sum(row['copies'] for row in rows)
    elements = sum(row['elements'] for row in rows)
    print(f'{result["config"]}: {total} copies of {elements / 1e6:.1f} million elements in a step')
    for row in rows:
        print(
            f'{row["copies"]:6} x {row["kind"]:6} {row["elements"] / 1e6:9.2f} M  '
            f'{row["part"]}: {row["operation"]}'
        )


BENCHMARK = Benchmark(
    'the copies of tensors in a step, by part, operation and kind (CPU)', measure, report
)
