"""Find images that are equal or nearly equal: fingerprints and a search for close ones.

A fingerprint is a difference hash (dHash, Krawetz 2013): whether brightness rises from cell to cell
of a 9 x 9 thumbnail, along rows and along columns, 2 x 64 bits. Compression, resizing and changes
of brightness alter a few bits; mirrored, rotated or cropped copies are not found. On frames of
CamVid, copies that were compressed (JPEG 40), shrunk to a third or brightened differ in at most 7
of the 128 bits, and different streets differ in half of them; consecutive frames of a video are
close as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

BITS = 128
RADIUS = 8
"""Number of bits in which near-duplicates may differ."""

_LEAST_CONTRAST = 8


def fingerprint(img: np.ndarray) -> np.ndarray | None:
    """Compute the fingerprint of an image, which similar images share in most of its bits.

    Args:
        img: (H, W, 3) uint8, BGR.

    Returns:
        np.ndarray | None: (16,) uint8, 128 bits; None for an image without structure (all black,
            all sky), which would resemble all others of its kind.

    Example:
        >>> fingerprint(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).shape
        (16,)
    """
    # grey after shrinking: the mean of the greys is the grey of the mean
    small = cv2.resize(img, (9, 9), interpolation=cv2.INTER_AREA)
    small = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.int16)
    if small.max() - small.min() < _LEAST_CONTRAST:
        return None
    rows, columns = small[:8, 1:] > small[:8, :-1], small[1:, :8] > small[:-1, :8]
    return np.packbits(np.concatenate([rows.ravel(), columns.ravel()]))


@dataclass
class NearPairs:
    """Result of :func:`near_pairs`.

    Args:
        pairs: (P, 2) int64: indices of two images of different groups, the closest pair first; P is
            at most ``limit``.
        distances: (P,) int64: number of bits in which the two differ.
        touched: (N, G) bool: whether image n has a near-duplicate in group g, ``limit`` or not.
    """

    pairs: np.ndarray
    distances: np.ndarray
    touched: np.ndarray


def near_pairs(
    prints: np.ndarray,
    groups: Sequence[int],
    contents: Sequence[int] | None = None,
    radius: int = RADIUS,
    limit: int = 10_000,
) -> NearPairs:
    """Find all pairs of images of different groups that differ in at most ``radius`` bits.

    Multi-index hashing (Norouzi et al., arXiv 1307.2982): two fingerprints that differ in
    ``radius`` bits share at least one of ``radius + 1`` parts. Images are sorted by each part in
    turn and compared within runs of equal parts. The search is exact. For N images it takes O(N)
    memory, and O(radius N log N) time plus 10 ns for each candidate. There are about (radius + 1)
    N^2 / 2^(128 / (radius + 1)) candidates if bits are independent, N^2 / 2 at worst.

    Args:
        prints: (N, 16) uint8 fingerprints.
        groups: N group numbers, 0 to G - 1. Pairs within a group are skipped.
        contents: N numbers, equal for equal files, whose pairs are skipped too. Defaults to None.
        radius: Number of bits that may differ.
        limit: Number of pairs to keep, the closest ones.

    Example:
        >>> prints = np.zeros((3, 16), np.uint8)
        >>> prints[2] = 255
        >>> near_pairs(prints, [0, 1, 1]).pairs.tolist()
        [[0, 1]]
    """
    prints, groups = np.asarray(prints, np.uint8).reshape(-1, BITS // 8), np.asarray(groups)
    contents = None if contents is None else np.asarray(contents)
    touched = np.zeros((len(prints), int(groups.max(initial=0)) + 1), bool)
    found = np.empty((0, 3), np.int64)
    parts = _parts(prints, radius + 1)
    words = prints.view(np.uint64)
    for number in range(parts.shape[1]):
        for first, second in _equal_pairs(parts[:, number]):
            wanted = groups[first] != groups[second]
            if contents is not None:
                wanted &= contents[first] != contents[second]
            first, second = first[wanted], second[wanted]
            distances = np.bitwise_count(words[first] ^ words[second]).sum(axis=1, dtype=np.int64)
            # a pair that shares an earlier part was found there
            new = distances <= radius
            new[new] = (parts[first[new], :number] != parts[second[new], :number]).all(axis=1)
            first, second = first[new], second[new]
            touched[first, groups[second]] = touched[second, groups[first]] = True
            if len(first):
                found = np.concatenate([found, np.stack([first, second, distances[new]], axis=1)])
            if len(found) > 2 * limit:
                found = found[np.argsort(found[:, 2], kind='stable')[:limit]]
    found = found[np.lexsort((found[:, 1], found[:, 0], found[:, 2]))][:limit]
    return NearPairs(found[:, :2], found[:, 2], touched)


def _equal_pairs(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of indices with equal keys, in batches of pairs with one distance in the order."""
    order = np.argsort(keys, kind='stable')
    ends = np.searchsorted(keys[order], keys[order], side='right')  # of the run of each place
    places, offset = np.arange(len(order)), 0
    while True:
        offset += 1
        places = places[places + offset < ends[places]]
        if not len(places):
            return
        yield order[places], order[places + offset]


def _parts(prints: np.ndarray, count: int) -> np.ndarray:
    """(N, count) uint64: every count-th bit of a fingerprint, since neighbours correlate."""
    parts = np.zeros((len(prints), count), np.uint64)
    for bit in range(BITS):
        value = (prints[:, bit // 8] >> (7 - bit % 8)) & 1
        parts[:, bit % count] = parts[:, bit % count] * np.uint64(2) + value
    return parts


def content_numbers(digests: np.ndarray) -> np.ndarray:
    """(N,) int64 numbers that are equal for equal rows; ``digests`` is (N, 16) uint8."""
    keys = np.ascontiguousarray(digests, np.uint8).view('V16').ravel()
    return np.unique(keys, return_inverse=True)[1].reshape(-1)


def repeated(numbers: np.ndarray) -> list[np.ndarray]:
    """Indices of each number that occurs more than once, in ascending order.

    Example:
        >>> [group.tolist() for group in repeated(np.array([4, 2, 4, 9]))]
        [[0, 2]]
    """
    rows = np.flatnonzero(np.bincount(numbers)[numbers] > 1) if len(numbers) else numbers
    rows = rows[np.argsort(numbers[rows], kind='stable')]
    return np.split(rows, np.flatnonzero(np.diff(numbers[rows])) + 1) if len(rows) else []
