"""The example of docs/own_method.md is complete: a run outside the package trains with it as it stands there."""

import doctest
import re
import types
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS
from tiny_semi import TinyLoop, tiny_batch, tiny_losses, tiny_model, tiny_recipe

TEXT = (Path(__file__).resolve().parents[1] / 'docs/own_method.md').read_text()
CODE, CONFIG = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)


@pytest.fixture(scope='module')
def example():
    module = types.ModuleType('entropy_example')
    exec(compile(CODE, 'docs/own_method.md', 'exec'), vars(module))
    yield module
    MODELS.module_dict.pop('EntropyObjective')


def test_its_docstring_is_right(example):
    assert doctest.testmod(example).attempted == 2
    assert doctest.testmod(example).failed == 0


def test_its_formula(example):
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    valid = torch.tensor([[[True, False], [True, True]]])
    entropies = []
    for row, column in valid[0].nonzero().tolist():
        p = logits[0, :, row, column].float().softmax(dim=0)
        entropies.append(-sum(float(q) * float(q.log()) for q in p))
    assert float(example.mean_entropy(logits, valid)) == pytest.approx(sum(entropies) / 3, rel=1e-6)
    assert example.mean_entropy(logits, torch.zeros_like(valid)) == 0


def test_a_recipe_trains_with_it(example):
    assert "dict(type='EntropyObjective', weight=0.1)" in CONFIG
    objectives = tiny_recipe('fixmatch')['objectives']
    model = tiny_model('fixmatch', objectives=[*objectives, dict(type='EntropyObjective')])
    loop = TinyLoop(model)
    before = tiny_losses(model, 0, tiny_batch())['entropy.loss']
    assert before.requires_grad and before > 0
    for _ in range(3):
        loop.step()
    assert torch.isfinite(tiny_losses(model, 3, tiny_batch())['entropy.loss'])
