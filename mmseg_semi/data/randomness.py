"""Random draws that follow from numbers, so that no state of a generator has to be stored.

Every draw of the input pipeline is a function of (seed, source, position in that source's stream).
A run can therefore stop and resume, with any number of workers, without replaying a batch and
without saving the state of a generator.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seeded_permutation(size: int, *entropy: int) -> np.ndarray:
    """Draw a permutation of ``range(size)`` that depends on ``entropy`` alone.

    It sorts raw PCG64 words: NumPy keeps the raw stream of a bit generator fixed across versions
    and machines. It does not promise this for ``Generator.permutation``.

    Args:
        size: Number of elements, 0 or more.
        *entropy: Non-negative integers, e.g. (seed, source, pass).

    Returns:
        np.ndarray: (size,) int64.

    Example:
        >>> seeded_permutation(5, 0).tolist() == seeded_permutation(5, 0).tolist()
        True
    """
    words = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(size)
    return np.argsort(words, kind='stable')


def derive_seed(*parts: int) -> int:
    """Derive a 63-bit seed from non-negative integers, the same on every machine.

    Trailing zeros do not count: (1, 0) gives the seed of (1,). Each purpose therefore uses a fixed
    number of parts.

    Args:
        *parts: Non-negative integers, e.g. (purpose, seed, source, position).

    Returns:
        int: In [0, 2**63).

    Example:
        >>> derive_seed(1, 2) == derive_seed(1, 2), derive_seed(1, 2) == derive_seed(2, 1)
        (True, False)
    """
    words = np.random.SeedSequence(parts).generate_state(2, np.uint32)
    return (int(words[0]) << 32 | int(words[1])) & (2**63 - 1)


@contextmanager
def seeded_rng(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators for a block, and restore them after it.

    Without workers the pipeline runs in the training process, whose own draws (dropout, mixing)
    must not change. CUDA generators stay as they are.

    Args:
        seed: In [0, 2**63).

    Example:
        >>> with seeded_rng(3):
        ...     first = random.random()
        >>> with seeded_rng(3):
        ...     random.random() == first
        True
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
