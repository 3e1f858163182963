import random

import numpy as np
import pytest
import torch

from mmseg_semi.data.randomness import seeded_permutation, seeded_rng


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_permutation_holds_every_element_once_and_follows_its_entropy():
    order = seeded_permutation(100, 7, 0, 0)
    assert sorted(order) == list(range(100))
    assert np.array_equal(order, seeded_permutation(100, 7, 0, 0))
    assert not np.array_equal(order, seeded_permutation(100, 7, 0, 1))
    assert len(seeded_permutation(0, 1)) == 0


def test_permutation_is_the_ranking_of_raw_words():
    generator = np.random.PCG64(np.random.SeedSequence((3, 4)))
    words = [int(generator.random_raw()) for _ in range(9)]
    expected = sorted(range(9), key=lambda i: words[i])
    assert seeded_permutation(9, 3, 4).tolist() == expected


def test_permutations_are_uniform():
    counts = np.zeros((4, 4))
    for seed in range(2000):
        counts[np.arange(4), seeded_permutation(4, seed)] += 1
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_same_seed_same_draws_and_outer_streams_go_on_untouched():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = [draw(), draw()]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = draw()
    with seeded_rng(2**62 + 5):
        inner = draw()
    assert [first, draw()] == expected
    with seeded_rng(2**62 + 5):
        assert draw() == inner
    with seeded_rng(5):  # differs in the high word alone, which torch's CPU generator ignores
        assert all(a != b for a, b in zip(draw()[:2], inner[:2], strict=True))


def test_streams_come_back_after_an_error():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    with pytest.raises(RuntimeError), seeded_rng(0):
        np.random.rand()
        raise RuntimeError
    assert np.random.rand() == expected
