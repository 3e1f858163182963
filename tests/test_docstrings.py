"""The examples in docstrings run as printed, and every public piece of mathematics has one."""

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

import mmseg_semi
from mmseg_semi.step.objective import Objective

SOURCE = Path(mmseg_semi.__file__).parent

# A package stands for the names that it exports in ``__all__``, a module for what it defines.
ROOMS = (
    'backbones',
    'heads',
    'heads.deeplabv2',
    'heads.deeplabv3plus',
    'methods.cct',
    'methods.cct.consistency',
    'methods.cct.perturbations',
    'methods.ddfp',
    'methods.ddfp.flow',
    'methods.dgcl',
    'methods.mllc',
    'methods.mllc.graphs',
    'methods.mllc.head',
    'methods.mllc.node_contrast',
    'methods.mllc.prototypes',
    'methods.stpp',
    'precision',
    'step.losses',
)

# These classes do nothing outside of a training run.
PARTS_OF_A_RUN = (Objective, Hook)

# These functions change their argument and return nothing.
IN_PLACE = ('init_convolutions',)

MOST_LINES = 6

# These modules and all that they import need torch, numpy and OpenCV, not an OpenMMLab package.
PURE = (
    'heads.decode_losses',
    'heads.two_stage',
    'methods.cct.consistency',
    'methods.cct.perturbations.adversarial',
    'methods.cct.perturbations.draws',
    'methods.cct.perturbations.features',
    'methods.cct.perturbations.guided',
    'methods.cct.pixel_shuffle',
    'methods.ddfp.direction',
    'methods.ddfp.flow',
    'methods.ddfp.mixture',
    'methods.dgcl.class_bank',
    'methods.dgcl.class_order',
    'methods.dgcl.knn',
    'methods.mllc.graphs',
    'methods.mllc.node_contrast',
    'precision',
)


def modules_with_examples() -> list[str]:
    """Names of the modules whose source holds a doctest prompt; none of them is imported."""
    names = []
    for path in sorted(SOURCE.rglob('*.py')):
        if '>>> ' in path.read_text(encoding='utf-8'):
            parts = path.relative_to(SOURCE.parent).with_suffix('').parts
            names.append('.'.join(parts).removesuffix('.__init__'))
    return names


@pytest.mark.parametrize('name', modules_with_examples())
def test_examples_run_as_printed(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for case in doctest.DocTestFinder(exclude_empty=True).find(module, name):
            runner.run(case, out=report.append)
    assert runner.tries, f'{name} holds prompts, but none of them in a docstring'
    assert not runner.failures, ''.join(report)


@pytest.mark.parametrize(
    'path', sorted(SOURCE.rglob('README.md')), ids=lambda path: path.parent.name
)
def test_examples_of_a_readme_run(path):
    """Blocks that begin with an import are programs; the others are parts of a config."""
    blocks = re.findall(r'```python\n(import .*?)```', path.read_text(encoding='utf-8'), re.DOTALL)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in blocks:
            exec(block, {})


def public_mathematics(room: str) -> dict[str, object]:
    """Functions and classes of a room, without tuples, abstract classes and parts of a run."""
    module = importlib.import_module(f'mmseg_semi.{room}')
    names = getattr(module, '__all__', None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith('_') and getattr(value, '__module__', None) == module.__name__
    ]
    members = {name: getattr(module, name) for name in names if name not in IN_PLACE}
    return {
        name: value
        for name, value in members.items()
        if inspect.isfunction(value)
        or inspect.isclass(value)
        and not issubclass(value, (tuple, *PARTS_OF_A_RUN))
        and not inspect.isabstract(value)
    }


def count_lines(example: doctest.Example) -> int:
    """Number of source lines of an example, without its imports."""
    source = example.source.strip().splitlines()
    return sum(not line.startswith(('import ', 'from ')) for line in source)


@pytest.mark.parametrize('room', ROOMS)
def test_public_mathematics_has_a_short_example(room):
    members = public_mathematics(room)
    assert members
    for name, value in members.items():
        examples = doctest.DocTestParser().get_examples(inspect.getdoc(value) or '')
        assert examples, f'{room}.{name} has no example in its docstring'
        found = sum(map(count_lines, examples))
        assert found <= MOST_LINES, f'{room}.{name}: {found} lines, expected at most {MOST_LINES}'


def imports(path: Path) -> Iterator[str]:
    """Names of the modules that a file imports when it is imported itself."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize('module', PURE)
def test_mathematics_needs_no_framework(module):
    waiting, seen = [f'mmseg_semi.{module}'], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path = SOURCE.parent.joinpath(*name.split('.'))
        found = set(imports(path / '__init__.py' if path.is_dir() else path.with_suffix('.py')))
        for framework in ('mmengine', 'mmseg', 'mmcv'):
            assert not {other for other in found if other.split('.')[0] == framework}, name
        waiting += {other for other in found if other.startswith('mmseg_semi.')} - seen
