"""The contrast equals its formula in float64 loops, and has the known extremes."""

import math

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl.contrast import prototype_contrast

K, A, N, D = 4, 5, 7, 6


def tensors(seed: int = 0, **sizes) -> tuple[Tensor, Tensor, Tensor]:
    k, a, n, d = (
        sizes.get(name, default) for name, default in (('k', K), ('a', A), ('n', N), ('d', D))
    )
    draw = torch.Generator().manual_seed(seed)
    shapes = (k, a, d), (k, d), (k, n, d)
    return tuple(torch.randn(shape, generator=draw) for shape in shapes)


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def by_definition(
    anchors: Tensor, prototype: Tensor, negatives: Tensor, temperature: float
) -> float:
    terms = []
    for u in anchors.double().tolist():
        own = cosine(u, prototype.double().tolist()) / temperature
        others = [cosine(u, v) / temperature for v in negatives.double().tolist()]
        terms.append(own - math.log(math.exp(own) + sum(map(math.exp, others))))
    return -sum(terms) / len(terms)


@pytest.mark.parametrize('temperature', [0.5, 0.1])
def test_contrast_equals_its_formula(temperature):
    anchors, prototypes, negatives = tensors()
    anchor_counts, negative_counts = torch.tensor([5, 2, 1, 0]), torch.tensor([7, 3, 0, 7])
    found = prototype_contrast(
        anchors, prototypes, negatives, anchor_counts, negative_counts, temperature
    )
    for c in range(2):
        a, n = anchor_counts[c], negative_counts[c]
        expected = by_definition(anchors[c, :a], prototypes[c], negatives[c, :n], temperature)
        assert found[c].item() == pytest.approx(expected, abs=1e-5)
    # no negative, and no anchor
    assert found[2].item() == found[3].item() == 0
    loss = MODELS.build(dict(type='PrototypeContrastLoss', temperature=temperature))
    mean = loss(anchors, prototypes, negatives, anchor_counts, negative_counts)
    assert mean.item() == pytest.approx(found[:2].mean().item())


def test_values_at_chance_and_at_both_extremes():
    """512 negatives, T = 0.5: random directions give about ln 513, extremes are 2.3397 and 10.238."""
    anchors, prototypes, negatives = tensors(k=1, a=200, n=512, d=256)
    counts = torch.tensor([200]), torch.tensor([512])
    random = prototype_contrast(anchors, prototypes, negatives, *counts)
    # cosines of random directions deviate by 1/16; at T = 0.5 this raises the mean by 0.8 %
    assert random.item() == pytest.approx(math.log(513), abs=0.05)
    same = anchors[:, :1]
    best = prototype_contrast(
        same.expand(1, 200, -1), same[:, 0], -same.expand(1, 512, -1), *counts
    )
    worst = prototype_contrast(
        -same.expand(1, 200, -1), same[:, 0], -same.expand(1, 512, -1), *counts
    )
    assert best.item() == pytest.approx(math.log1p(512 * math.exp(-4)), abs=1e-4)
    assert best.item() == pytest.approx(2.3397, abs=1e-4)
    assert worst.item() == pytest.approx(10.238, abs=1e-3)


def test_gradient_is_that_of_the_formula_and_ignores_what_does_not_count():
    anchors, prototypes, negatives = (x.double().requires_grad_() for x in tensors(1))
    anchor_counts, negative_counts = torch.tensor([3, 0, 5, 2]), torch.tensor([4, 7, 0, 7])
    prototype_contrast(
        anchors, prototypes, negatives, anchor_counts, negative_counts
    ).sum().backward()
    found = anchors.grad.clone()
    for c in (0, 3):
        a, n = anchor_counts[c], negative_counts[c]
        u = anchors[c, :a].detach().requires_grad_()
        cos = torch.nn.functional.cosine_similarity
        own = cos(u, prototypes[c].detach()[None]) / 0.5
        other = torch.stack([cos(u, v[None]) / 0.5 for v in negatives[c, :n].detach()], dim=1)
        terms = own - (own.exp() + other.exp().sum(dim=1)).log()
        (expected,) = torch.autograd.grad(-terms.mean(), u)
        assert (found[c, :a] - expected).abs().max() < 1e-5
        assert not found[c, a:].any()
    assert not found[1].any() and not found[2].any()
    assert all(torch.isfinite(x.grad).all() for x in (anchors, prototypes, negatives))


def test_lengths_of_anchors_do_not_matter():
    anchors, prototypes, negatives = tensors(2)
    counts = torch.full((K,), A), torch.full((K,), N)
    longer = anchors * torch.linspace(0.1, 50, A)[:, None]
    expected = prototype_contrast(anchors, prototypes, negatives, *counts)
    assert torch.allclose(
        prototype_contrast(longer, prototypes, negatives, *counts), expected, atol=1e-5
    )


def test_no_usable_class_gives_a_zero_with_a_graph():
    anchors, prototypes, negatives = tensors(3)
    anchors.requires_grad_()
    loss = MODELS.build(dict(type='PrototypeContrastLoss'))
    for counts in ((0, 7), (5, 0)):
        value = loss(anchors, prototypes, negatives, *(torch.full((K,), c) for c in counts))
        (gradient,) = torch.autograd.grad(value, anchors)
        assert value.item() == 0 and not gradient.any()


def test_half_precision_is_computed_in_float32():
    anchors, prototypes, negatives = (x.half() for x in tensors(4))
    counts = torch.full((K,), A), torch.full((K,), N)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = prototype_contrast(anchors, prototypes, negatives, *counts)
    expected = prototype_contrast(anchors.float(), prototypes.float(), negatives.float(), *counts)
    assert torch.equal(found, expected) and found.dtype == torch.float32


@pytest.mark.parametrize('temperature', [0, -1, math.nan])
def test_wrong_temperatures_are_refused(temperature):
    with pytest.raises(SetupError, match='temperature'):
        MODELS.build(dict(type='PrototypeContrastLoss', temperature=temperature))
