"""Annealed-bootstrapped cross entropy against a loop over pixels."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.methods.cct.bootstrapped import (
    AnnealedBootstrappedCELoss,
    bootstrapped_cross_entropy,
)


def batch(seed: int = 0, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 4, 5, 6, generator=g, dtype=torch.float64)
    labels = torch.randint(0, 4, (n, 5, 6), generator=g)
    labels[torch.rand(n, 5, 6, generator=g) < 0.2] = IGNORE
    return logits.requires_grad_(), labels


def by_pixels(logits, labels, threshold: float, min_kept: int) -> tuple[torch.Tensor, int]:
    found = []
    for n, y, x in (labels != IGNORE).nonzero().tolist():
        log_p = logits[n, :, y, x].log_softmax(dim=0)[labels[n, y, x]]
        found.append((math.exp(log_p.item()), log_p))
    found.sort(key=lambda pair: pair[0])
    if len(found) > min_kept:
        # the (min_kept + 1)-th smallest, as in the released code
        threshold = max(threshold, found[min_kept][0])
    else:
        threshold = 2.0
    kept = [log_p for p, log_p in found if p < threshold]
    return -sum(kept) / max(len(kept), 1), len(kept)


@pytest.mark.parametrize('min_kept', [1, 2, 20, 1000])
@pytest.mark.parametrize('threshold', [0.0, 0.05, 0.25, 0.6, 0.9])
def test_only_hard_pixels_count(threshold, min_kept):
    logits, labels = batch()
    expected, count = by_pixels(logits, labels, threshold, min_kept)
    found = bootstrapped_cross_entropy(logits, labels, threshold, min_kept)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    valid = int((labels != IGNORE).sum())
    assert min(min_kept, valid) <= count <= valid
    mine, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    assert (mine - theirs).abs().max() < 1e-6


def test_above_one_it_is_the_plain_cross_entropy():
    logits, labels = batch()
    found = bootstrapped_cross_entropy(logits, labels, 1.1, 1)
    expected = F.cross_entropy(logits, labels, ignore_index=IGNORE)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_pixels_that_are_equally_probable():
    """All logits are 0, as from a dead decoder that ends in a ReLU: no pixel is easier than the others."""
    logits = torch.zeros(2, 4, 3, 3, requires_grad=True)
    labels = torch.randint(0, 4, (2, 3, 3))
    found = bootstrapped_cross_entropy(logits, labels, 0.25, 2)
    assert found.item() == pytest.approx(math.log(4))


def test_without_a_valid_pixel():
    logits, labels = batch()
    found = bootstrapped_cross_entropy(logits, torch.full_like(labels, IGNORE), 0.5, 2)
    assert found.item() == 0
    (gradient,) = torch.autograd.grad(found, logits)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_the_threshold_over_the_published_run():
    """21 classes, 80 epochs of 912 iterations, and the log ramp over two fifths of them."""
    loss = AnnealedBootstrappedCELoss(length=29184)
    found = [loss.threshold(epoch * 912, 21) for epoch in (0, 8, 16, 32, 80)]
    expected = [0.047619, 0.655789, 0.830032, 0.894257, 0.894257]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('kind', ['sigmoid', 'linear', 'cosine', 'log', 'exp'])
def test_every_ramp(kind):
    loss = AnnealedBootstrappedCELoss(length=10, kind=kind, end=0.8)
    values = [loss.threshold(i, 4) for i in range(12)]
    assert values == sorted(values) and values[10] == values[11] <= 0.8
    assert 0.25 <= values[0] < 0.26 and values[10] > 0.79
    middle = dict(sigmoid=0.286505, linear=0.5, cosine=0.5, log=0.917915, exp=0.082085)[kind]
    assert values[5] == pytest.approx(0.25 + 0.55 * middle, abs=1e-5)


def test_a_fixed_threshold():
    loss = AnnealedBootstrappedCELoss(length=0, kind='none', end=0.7)
    assert loss.threshold(0, 21) == pytest.approx(0.7) == loss.threshold(10**6, 21)


def test_as_a_loss_of_a_head():
    """The runner's iteration is the time; at least ``min_kept`` pixels per image count."""
    logits, labels = batch(n=3)
    loss = AnnealedBootstrappedCELoss(length=100, kind='linear', min_kept=4, loss_weight=0.5)
    hub = MessageHub.get_instance('bootstrapped')
    MessageHub._instance_dict.move_to_end('bootstrapped')
    for iteration in (0, 50, 100):
        hub.update_info('iter', iteration)
        threshold = 0.25 + 0.65 * iteration / 100
        expected, count = by_pixels(logits, labels, threshold, 12)
        assert count >= 12
        assert loss(logits, labels).item() == pytest.approx(0.5 * expected.item(), rel=1e-5)
    labels = labels.masked_fill(labels == IGNORE, 9)
    again = loss(logits, labels, ignore_index=9).item()
    assert again == pytest.approx(0.5 * expected.item(), rel=1e-5)
    with pytest.raises(SetupError, match='sampler'):
        loss(logits, labels, weight=torch.ones(3, 5, 6))


@pytest.mark.parametrize(
    'wrong',
    [dict(end=0.0), dict(end=1.5), dict(min_kept=0), dict(kind='cubic'), dict(length=-1)],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(SetupError):
        AnnealedBootstrappedCELoss(**dict(length=10) | wrong)
