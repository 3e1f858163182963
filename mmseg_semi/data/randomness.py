"""Randomness that is derived instead of stored.

Every draw of the input pipeline is a function of (seed, source, position in that source's stream).
A run can therefore be stopped and continued, with any number of workers, without replaying a batch
and without saving the state of a generator.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seeded_permutation(size: int, *entropy: int) -> np.ndarray:
    """Permutation of ``range(size)`` that depends on ``entropy`` alone.

    It sorts raw PCG64 words: NumPy keeps the raw stream of a bit generator fixed across versions
    and machines, which it does not promise for ``Generator.permutation``.

    Args:
        size: Number of elements, 0 or more.
        *entropy: Non-negative integers, e.g. (seed, source, pass).

    Returns:
        np.ndarray: Shape (size,), int64.
    """
    words = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(size)
    return np.argsort(words, kind='stable')


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from non-negative integers, well mixed, the same on every machine.

    Trailing zeros count for nothing, (1, 0) is (1,): one purpose gives one number of parts.
    """
    words = np.random.SeedSequence(parts).generate_state(2, np.uint32)
    return (int(words[0]) << 32 | int(words[1])) & (2**63 - 1)


@contextmanager
def seeded_rng(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators inside the block and put them back after.

    Without workers the pipeline runs in the training process; its own streams (dropout, mixing)
    must not notice. CUDA generators are left alone.

    Args:
        seed: In [0, 2**63).
    """
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.default_generator.set_state(torch_state)
