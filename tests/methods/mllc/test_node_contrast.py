"""Contrasts of node features equal loops over nodes and pairs, and autograd of the plain formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.mllc import node_contrast
from mmseg_semi.methods.mllc.node_contrast import class_prototype_contrast, pairwise_contrast

EVERY = torch.ones(5, dtype=torch.bool)


def example(seed=0, channels=6, classes=5):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, channels, 3, 4, generator=generator)
    labels = torch.randint(0, classes, (2, 3, 4), generator=generator)
    labels[:, 0, :2] = IGNORE
    return features, labels, torch.randn(classes, channels, generator=generator)


def test_class_prototype_contrast_equals_a_loop():
    features, labels, prototypes = example()
    seen = torch.tensor([True, True, False, True, True])
    expected = 0.0
    for b in range(2):
        for y in range(3):
            for x in range(4):
                label = int(labels[b, y, x])
                if label == IGNORE or not seen[label]:
                    continue
                f = features[b, :, y, x].double()
                cosines = {
                    c: float(f @ prototypes[c].double() / f.norm() / prototypes[c].double().norm())
                    for c in range(5)
                    if seen[c]
                }
                total = sum(math.exp(10 * value) for value in cosines.values())
                expected -= math.log(math.exp(10 * cosines[label]) / total)
    found = class_prototype_contrast(features, labels, prototypes, seen)
    assert float(found) == pytest.approx(expected / 24, rel=1e-5)  # ignored nodes count in the mean


@pytest.mark.parametrize('classes', [19, 21])
def test_zero_prototypes_give_log_k_and_no_gradient(classes):
    features = torch.randn(1, 8, 4, 4, requires_grad=True)
    labels = torch.randint(0, classes, (1, 4, 4))
    seen = torch.ones(classes, dtype=torch.bool)
    loss = class_prototype_contrast(features, labels, torch.zeros(classes, 8), seen)
    assert float(loss) == pytest.approx(math.log(classes), rel=1e-6)
    assert torch.autograd.grad(loss, features)[0].abs().max() == 0


def test_features_on_orthonormal_prototypes():
    labels = torch.arange(19).view(1, 1, 19)
    features = 3 * torch.eye(19)[None, :, None]
    loss = class_prototype_contrast(
        features, labels, torch.eye(19), torch.ones(19, dtype=torch.bool)
    )
    assert float(loss) == pytest.approx(math.log1p(18 * math.exp(-10)), rel=1e-3)
    assert float(loss) == pytest.approx(8.17e-4, rel=1e-2)


def test_no_prototype_or_no_label_is_zero_with_a_graph():
    features, labels, prototypes = example()
    features.requires_grad_()
    for seen, truth in ((~EVERY, labels), (EVERY, torch.full_like(labels, IGNORE))):
        loss = class_prototype_contrast(features, truth, prototypes, seen)
        assert float(loss) == 0
        assert torch.autograd.grad(loss, features)[0].abs().max() == 0


def plain_pairs(features, labels):
    """The formula with N x N tensors and autograd."""
    total, pairs = 0.0, 0
    for rows, own in zip(features.flatten(2).transpose(1, 2), labels.flatten(1), strict=True):
        rows, own = rows[own != IGNORE], own[own != IGNORE]
        unit = F.normalize(rows, dim=1)
        s = (unit @ unit.T).clamp(1e-10, 1 - 1e-7)
        a = (own[:, None] == own).to(s.dtype)
        total = total - (a * s.log() + (1 - a) * (1 - s).log()).sum()
        pairs += len(own) ** 2
    return total / pairs


@pytest.mark.parametrize('scores', [13, 10_000])
def test_pairwise_contrast_equals_the_plain_form(scores, monkeypatch):
    monkeypatch.setattr(node_contrast, 'SCORES', scores)
    features, labels, _ = example(seed=3)
    features.requires_grad_()
    ours, plain = pairwise_contrast(features, labels), plain_pairs(features, labels)
    assert float(ours) == pytest.approx(float(plain), rel=1e-5)
    mine, theirs = (torch.autograd.grad(loss, features)[0] for loss in (2 * ours, 2 * plain))
    assert (mine - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert mine[:, :, 0, :2].abs().max() == 0


def test_block_perfect_features_cost_nothing_and_opposed_ones_are_left():
    labels = torch.arange(4).repeat_interleave(4).view(1, 4, 4)
    features = torch.eye(4).repeat_interleave(4, 0).T.reshape(1, 4, 4, 4)
    assert float(pairwise_contrast(features, labels)) < 1e-6
    opposed = torch.tensor([[1.0, -1.0]]).view(1, 1, 1, 2).requires_grad_()
    loss = pairwise_contrast(opposed, torch.zeros(1, 1, 2, dtype=torch.int64))
    assert float(loss) == pytest.approx(23.03 / 2, rel=1e-3)  # two of four pairs
    assert torch.autograd.grad(loss, opposed)[0].abs().max() == 0


def test_equal_features_of_two_classes_give_a_finite_gradient():
    features = torch.ones(1, 3, 1, 4, requires_grad=True)
    loss = pairwise_contrast(features, torch.arange(4).view(1, 1, 4))
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, features)[0]).all()


@pytest.mark.parametrize('filler', [1e6, float('nan')])
def test_ignored_nodes_reach_no_value_and_no_gradient(filler):
    features, labels, prototypes = example()
    ignored = (labels == IGNORE)[:, None]
    results = []
    for start in (features, torch.where(ignored, filler, features)):
        start = start.clone().requires_grad_()
        losses = [
            class_prototype_contrast(start, labels, prototypes, EVERY),
            pairwise_contrast(start, labels),
        ]
        gradient = torch.autograd.grad(sum(losses), start)[0]
        results.append((*losses, gradient.masked_fill(ignored, 0.0)))
    for mine, theirs in zip(*results, strict=True):
        assert torch.equal(mine, theirs)


def test_all_ignored_is_zero():
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = pairwise_contrast(features, torch.full((1, 2, 2), IGNORE))
    assert float(loss) == 0
    assert torch.autograd.grad(loss, features)[0].abs().max() == 0


def test_float32_under_autocast():
    features, labels, prototypes = example()
    plain = [class_prototype_contrast(features, labels, prototypes, EVERY)]
    plain.append(pairwise_contrast(features, labels))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(plain[0], class_prototype_contrast(features, labels, prototypes, EVERY))
        assert torch.equal(plain[1], pairwise_contrast(features, labels))
