import itertools

import numpy as np

from mmseg_semi.data.randomness import derive_seed


def test_seeds_follow_from_their_parts_and_nothing_else():
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    seeds = {parts: derive_seed(*parts) for parts in itertools.product(range(6), repeat=3)}
    assert len(set(seeds.values())) == 6**3  # order and every part matter
    assert all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in seeds.values())
    np.random.seed(2)
    assert seeds[1, 2, 3] == derive_seed(1, 2, 3)
    np.random.seed(1)
    assert np.array_equal(np.random.get_state()[1], state)


def test_neighbouring_iterations_have_unrelated_seeds():
    """Half of the bits differ, on average, from one iteration to the next."""
    seeds = [derive_seed(0, 0, iteration) for iteration in range(1000)]
    flips = [bin(a ^ b).count('1') for a, b in itertools.pairwise(seeds)]
    assert abs(sum(flips) / len(flips) - 31.5) < 1
