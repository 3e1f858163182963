"""Randomness that is derived instead of stored: any draw follows from (seed, where, when), so nothing is replayed."""

import numpy as np


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from non-negative integers, well mixed, the same on every machine.

    Trailing zeros count for nothing, (1, 0) is (1,): one purpose gives one number of parts.
    """
    words = np.random.SeedSequence(parts).generate_state(2, np.uint32)
    return (int(words[0]) << 32 | int(words[1])) & (2**63 - 1)
