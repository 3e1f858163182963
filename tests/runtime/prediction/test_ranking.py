"""Ranking: uncertainty by hand, and the greedy choice against brute force and against the best choice there is."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mmseg_semi.runtime.prediction.ranking import pooled, rank, uncertainty


def test_uncertainty_by_hand():
    probabilities = torch.tensor([[0.7, 1.0, 1 / 3], [0.2, 0.0, 1 / 3], [0.1, 0.0, 1 / 3]])[:, None]
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1)) / math.log(3)
    expected = dict(entropy=[entropy, 0, 1], margin=[0.5, 0, 1], confidence=[0.3, 0, 2 / 3])
    for kind, values in expected.items():
        torch.testing.assert_close(
            uncertainty(probabilities, kind)[0], torch.tensor(values), rtol=0, atol=1e-6
        )
    # one output is the probability of class 1
    two = torch.tensor([[[0.8]], [[0.2]]])
    for kind in expected:
        torch.testing.assert_close(uncertainty(two[1:], kind), uncertainty(two, kind))


def test_features_are_pooled_to_length_one():
    features = torch.randn(5, 4, 3)
    mean = features.numpy().reshape(5, -1).mean(1)
    np.testing.assert_allclose(pooled(features), mean / np.linalg.norm(mean), rtol=1e-5)
    assert pooled(torch.zeros(5, 2, 2)).tolist() == [0.0] * 5


def brute_force(embeddings, uncertain, centres, count, diversity):
    """Every distance to every centre, anew in every step."""
    centres, chosen = [np.asarray(c) for c in centres], []
    for _ in range(count):
        best, place = -np.inf, None
        for i, point in enumerate(embeddings):
            if i in chosen:
                continue
            score = uncertain[i]
            if centres:
                nearest = min(math.dist(point, centre) for centre in centres)
                score = nearest**diversity * uncertain[i] ** (1 - diversity)
            if score > best:
                best, place = score, i
        chosen.append(place)
        centres.append(embeddings[place])
    return chosen


@pytest.mark.parametrize('diversity', [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize('labelled', [0, 4])
def test_the_choice_is_that_of_brute_force(diversity, labelled):
    rng = np.random.default_rng(int(10 * diversity) + labelled)
    embeddings, uncertain = rng.normal(size=(40, 6)), rng.uniform(size=40)
    centres = rng.normal(size=(labelled, 6))
    found = rank(embeddings, uncertain, centres, 15, diversity)
    assert [c.index for c in found] == brute_force(embeddings, uncertain, centres, 15, diversity)
    assert [c.uncertainty for c in found] == [uncertain[c.index] for c in found]


def test_all_are_ranked_once_without_a_count():
    rng = np.random.default_rng(0)
    found = rank(rng.normal(size=(9, 3)), rng.uniform(size=9))
    assert sorted(c.index for c in found) == list(range(9)) and math.isinf(found[0].distance)


def test_diversity_alone_covers_the_images_at_most_twice_as_badly_as_the_best_choice():
    # Sener & Savarese 2018, after Gonzalez 1985: the greedy radius is at most twice the optimal one
    rng = np.random.default_rng(3)
    points = rng.normal(size=(11, 2))
    centres = points[:1] + 0.1
    chosen = [c.index for c in rank(points, np.ones(11), centres, 3, 1.0)]

    def radius(indices):
        return cdist(points, np.concatenate([centres, points[list(indices)]])).min(1).max()

    best = min(radius(indices) for indices in itertools.combinations(range(11), 3))
    assert best <= radius(chosen) <= 2 * best


def test_a_copy_of_a_chosen_image_comes_last():
    embeddings = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [0.5, 0.5]])
    assert [c.index for c in rank(embeddings, np.array([0.9, 0.8, 0.2, 0.1]))][-1] == 1


def test_without_uncertainty_or_distance_the_first_image_wins():
    assert [c.index for c in rank(np.ones((3, 2)), np.full(3, 0.5), count=2)] == [0, 1]
