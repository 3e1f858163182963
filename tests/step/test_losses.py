import math

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_semi import tiny_batch, tiny_student

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.step.losses import (
    OHEMCrossEntropyLoss,
    masked_cross_entropy,
    ohem_cross_entropy,
    self_training_loss,
)


def maps(seed: int = 0, ignored: float = 0.3, scale: float = 2.0, size: int = 6):
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 4, size, size, generator=draw)
    labels = torch.randint(0, 4, (2, size, size), generator=draw)
    labels[torch.rand(2, size, size, generator=draw) < ignored] = IGNORE
    return logits.requires_grad_(), labels


def pixels(logits: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """Probability of the true class at every pixel that has one, in float64."""
    found = []
    for image, label in zip(logits.detach().double(), labels, strict=True):
        for y, row in enumerate(label.tolist()):
            for x, k in enumerate(row):
                if k != IGNORE:
                    exponentials = [math.exp(value) for value in image[:, y, x].tolist()]
                    found.append(exponentials[k] / sum(exponentials))
    return found


def test_masked_cross_entropy_is_the_mean_over_labelled_pixels():
    logits, labels = maps()
    terms = [-math.log(p) for p in pixels(logits, labels)]
    loss = masked_cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    scaled = masked_cross_entropy(logits, labels, torch.tensor(7))
    assert scaled.item() == pytest.approx(sum(terms) / 7, rel=1e-5)
    half = masked_cross_entropy(logits.half(), labels)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(loss.item(), rel=1e-2)


def test_divisors_of_the_self_training_loss():
    logits, labels = maps()
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[:, :, -1] = False
    labels[~valid] = IGNORE
    terms = [-math.log(p) for p in pixels(logits, labels)]
    found = self_training_loss(logits, labels, valid, 'confident').item()
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    found = self_training_loss(logits, labels, valid, 'valid').item()
    assert found == pytest.approx(sum(terms) / (2 * 6 * 5), rel=1e-5)
    assert len(terms) < 60
    found = self_training_loss(logits, labels, valid, 'inverse').item()
    assert found == pytest.approx(sum(terms) / len(terms) * labels.numel() / len(terms), rel=1e-5)


@pytest.mark.parametrize('divisor', ['confident', 'valid', 'inverse'])
def test_weights_are_the_sum_over_pixels(divisor):
    """Value and gradient, from the definition in float64."""
    logits, labels = maps()
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[:, :, -1] = False
    labels[~valid] = IGNORE
    weight = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1))
    total, weights = 0.0, 0.0
    gradient = torch.zeros(logits.shape, dtype=torch.float64)
    for place in (labels != IGNORE).nonzero().tolist():
        n, y, x = place
        w, k = float(weight[n, y, x]), int(labels[n, y, x])
        p = torch.softmax(logits[n, :, y, x].detach().double(), dim=0)
        total, weights = total - w * math.log(p[k]), weights + w
        gradient[n, :, y, x] = w * p
        gradient[n, k, y, x] -= w
    share = weights / labels.numel()
    by = {'confident': weights, 'valid': 2 * 6 * 5, 'inverse': weights * share}[divisor]
    loss = self_training_loss(logits, labels, valid, divisor, weight)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(total / by, rel=1e-5)
    assert (logits.grad - gradient / by).abs().max() < 1e-6
    half = self_training_loss(logits.detach().half(), labels, valid, divisor, weight)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(loss.item(), rel=1e-2)


@pytest.mark.parametrize('divisor', ['confident', 'valid', 'inverse'])
def test_weights_of_one_change_nothing_and_of_zero_leave_a_zero(divisor):
    logits, labels = maps()
    valid = torch.ones_like(labels, dtype=torch.bool)
    plain = self_training_loss(logits, labels, valid, divisor)
    ones = self_training_loss(logits, labels, valid, divisor, torch.ones(labels.shape))
    assert ones.item() == pytest.approx(plain.item(), rel=1e-6)
    zero = self_training_loss(logits, labels, valid, divisor, torch.zeros(labels.shape))
    assert zero.item() == 0
    zero.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    # many weights that are all tiny do not become a mean of weight one
    tiny = self_training_loss(logits, labels, valid, 'confident', torch.full(labels.shape, 1e-4))
    assert tiny < 0.01 * self_training_loss(logits, labels, valid, 'confident')


def test_half_the_labels_double_the_inverse_loss():
    logits = torch.zeros(2, 3, 4, 4)
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    whole = self_training_loss(logits, labels, valid, 'inverse')
    labels[1] = IGNORE
    half = self_training_loss(logits, labels, valid, 'inverse')
    assert whole.item() == pytest.approx(math.log(3)) and half.item() == pytest.approx(
        2 * whole.item()
    )


@pytest.mark.parametrize('divisor', ['confident', 'valid', 'inverse'])
@pytest.mark.parametrize('padded', [False, True])
def test_without_a_label_the_loss_is_zero_with_a_graph(divisor, padded):
    logits, labels = maps()
    labels = torch.full_like(labels, IGNORE)
    valid = torch.full_like(labels, not padded, dtype=torch.bool)
    loss = self_training_loss(logits, labels, valid, divisor)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def ohem_loop(logits, labels, threshold: float, min_kept: int) -> tuple[float, int]:
    """OHEM from its text: (loss, pixels kept)."""
    every = pixels(logits, labels)
    everywhere = every + [1.0] * (labels.numel() - len(every))  # ignored pixels count as certain
    kept = every
    if len(every) >= min_kept:
        bound = max(threshold, sorted(everywhere)[min_kept - 1])
        kept = [p for p in every if p <= bound]
    return sum(-math.log(p) for p in kept) / max(1, len(kept)), len(kept)


@pytest.mark.parametrize('threshold', [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize('min_kept', [1, 10, 30, 50, 72, 500])
def test_ohem_is_the_loop(threshold, min_kept):
    for seed in range(4):
        logits, labels = maps(seed)
        expected, _ = ohem_loop(logits, labels, threshold, min_kept)
        found = ohem_cross_entropy(logits, labels, threshold, min_kept)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_ohem_of_few_pixels_is_plain():
    logits, labels = maps()
    plain = masked_cross_entropy(logits, labels).item()
    count = int((labels != IGNORE).sum())
    # a threshold that nothing passes, but there are fewer pixels than must be kept
    found = ohem_cross_entropy(logits, labels, threshold=1e-6, min_kept=count + 1).item()
    assert found == pytest.approx(plain, rel=1e-6)


def test_ohem_of_hard_pixels_alone_is_plain():
    logits, labels = maps(scale=0.1)
    assert max(pixels(logits, labels)) < 0.7
    plain = masked_cross_entropy(logits, labels).item()
    assert ohem_cross_entropy(logits, labels, 0.7, 5).item() == pytest.approx(plain, rel=1e-6)


def test_ohem_keeps_at_least_min_kept_and_only_hard_pixels_get_a_gradient():
    for seed in range(5):
        logits, labels = maps(seed, scale=4.0)
        (gradient,) = torch.autograd.grad(ohem_cross_entropy(logits, labels, 0.05, 20), logits)
        kept = gradient.abs().sum(dim=1) > 0
        _, expected = ohem_loop(logits, labels, 0.05, 20)
        assert int(kept.sum()) == expected >= 20
        assert not (kept & (labels == IGNORE)).any()
        assert expected < int((labels != IGNORE).sum())


def test_ohem_without_a_label_is_zero_with_a_graph():
    logits, labels = maps()
    loss = ohem_cross_entropy(logits, torch.full_like(labels, IGNORE), 0.7, 5)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ohem_in_a_head_of_mmsegmentation():
    student = tiny_student(
        3, 'FCNHead', loss_decode=dict(type='OHEMCrossEntropyLoss', min_kept=40, loss_weight=0.4)
    )
    head = MODELS.build(student['decode_head'])
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    samples: list[SegDataSample] = tiny_batch()['data_samples']['labeled'][:2]
    losses = head.loss_by_feat(logits, samples)
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
    assert (labels == IGNORE).any()
    full = torch.nn.functional.interpolate(
        logits, size=(32, 32), mode='bilinear', align_corners=True
    )
    expected, _ = ohem_loop(full, labels, 0.7, 40)
    assert losses['loss_ohem'].item() == pytest.approx(0.4 * expected, rel=1e-5)
    losses['loss_ohem'].backward()
    assert logits.grad.abs().sum() > 0


def test_wrong_settings_are_refused():
    for settings in (dict(threshold=0), dict(threshold=1.2), dict(min_kept=0)):
        with pytest.raises(SetupError, match='OHEMCrossEntropyLoss'):
            OHEMCrossEntropyLoss(**settings)
    logits, labels = maps()
    with pytest.raises(SetupError, match='sampler'):
        OHEMCrossEntropyLoss()(logits, labels, weight=torch.ones(2, 6, 6))
