"""Thresholds by class from counts."""

import pytest
import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.mllc.class_counts import ClassCountThreshold


def logits_of(confidence, labels, classes=3):
    """(1, K, 1, W) logits with the given confidences at these labels."""
    p = torch.full((len(labels), classes), 0.0, dtype=torch.float64)
    for row, (c, label) in enumerate(zip(confidence, labels, strict=True)):
        p[row] = (1 - c) / (classes - 1)
        p[row, label] = c
    return p.log().T[None, :, None].float()


def test_no_count_no_threshold():
    assert ClassCountThreshold(4)().tolist() == [0, 0, 0, 0]


def test_thresholds_follow_counts():
    threshold = ClassCountThreshold(3)
    threshold.counts.copy_(torch.tensor([10, 5, 0]))
    assert threshold().tolist() == pytest.approx([0.95, 0.475, 0.0], abs=1e-9)
    threshold.counts.copy_(torch.tensor([1, 7, 10**12]))
    eta = threshold()
    assert eta.max() == pytest.approx(0.95, abs=1e-9)
    assert (eta[1:] > eta[:-1]).all()
    floor = ClassCountThreshold(3, eta_min=0.5)
    floor.counts.copy_(torch.tensor([10, 5, 0]))
    assert floor().tolist() == pytest.approx([0.95, 0.5, 0.5], abs=1e-9)


def test_sure_pixels_are_counted_after_the_step():
    threshold = ClassCountThreshold(3)
    threshold.observe(logits_of([0.96, 0.94, 0.99, 0.97], [0, 0, 1, 2]))
    valid = torch.tensor([[[True, False]]])
    threshold.observe(logits_of([0.99, 0.99], [1, 1]), valid)
    assert threshold.counts.sum() == 0  # not within the step
    threshold.step()
    assert threshold.counts.tolist() == [1, 2, 1]
    threshold.step()
    assert threshold.counts.tolist() == [1, 2, 1]


def test_counts_stay_whole_beyond_the_integers_of_float32():
    threshold = ClassCountThreshold(3)
    threshold.counts.fill_(2**24)
    threshold.observe(logits_of([0.99], [1]))
    threshold.step()
    assert threshold.counts.tolist() == [2**24, 2**24 + 1, 2**24]
    assert threshold.counts.dtype == torch.int64


def test_momentum_forgets():
    threshold = ClassCountThreshold(3, momentum=0.5)
    for _ in range(3):
        threshold.observe(logits_of([0.99], [1]))
        threshold.step()
    assert threshold.counts.tolist() == [0, 1.75, 0]


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(tau=0.0), 'tau=0'),
        (dict(eta_min=0.96), 'eta_min=0.96'),
        (dict(momentum=1.0), 'count_momentum=1'),
    ],
)
def test_values_out_of_range(wrong, message):
    with pytest.raises(SetupError, match=message):
        ClassCountThreshold(3, **wrong)
