"""Which images come first: entropies by their definition, choices against trying every image."""

import math

import numpy as np
import pytest
import torch

from mmseg_semi.runtime.prediction.ranking import choose, mean_entropy


def test_entropy_is_that_of_its_definition():
    scores = torch.randn(4, 3, 5).softmax(0)
    total = 0.0
    for row in range(3):
        for column in range(5):
            total -= sum(float(p) * math.log(float(p)) for p in scores[:, row, column])
    assert mean_entropy(scores) == pytest.approx(total / 15 / math.log(4), rel=1e-5)


def test_one_output_counts_as_two_classes():
    share = torch.rand(1, 4, 4)
    assert mean_entropy(share) == pytest.approx(mean_entropy(torch.cat([1 - share, share])))
    assert mean_entropy(torch.full((1, 2, 2), 0.5)) == pytest.approx(1.0)
    assert mean_entropy(torch.zeros(1, 2, 2)) == 0.0


def by_trying(uncertainty, features, labeled, count) -> list[int]:
    """At every choice all images are tried, all distances computed."""
    chosen: list[int] = []
    for _ in range(count):
        best = None
        for i in range(len(features)):
            if i in chosen:
                continue
            known = [*labeled, *(features[j] for j in chosen)]
            distance = min((math.dist(features[i], other) for other in known), default=1.0)
            value = uncertainty[i] * distance
            if best is None or value > best[0]:
                best = value, i
        chosen.append(best[1])
    return chosen


@pytest.mark.parametrize('known', [0, 3])
def test_choices_are_those_of_trying_every_image(known):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 8))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    uncertainty = rng.uniform(size=30)
    found = choose(uncertainty, features, features[:known], 12)
    assert [choice.index for choice in found] == by_trying(
        uncertainty, features, features[:known], 12
    )
    assert np.isinf(found[0].distance) == (known == 0)
    for choice in found[1:]:
        assert 0 < choice.distance <= 2


def test_a_copy_of_what_is_chosen_comes_last():
    features = np.eye(3)[[0, 0, 1, 2]]
    found = choose(np.array([1.0, 0.9, 0.2, 0.1]), features, features[:0], 4)
    assert [choice.index for choice in found] == [0, 2, 3, 1] and found[-1].distance == 0


def test_no_more_than_there_are():
    assert len(choose(np.ones(2), np.eye(2), np.eye(2)[:0], 5)) == 2
