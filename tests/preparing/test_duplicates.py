"""Fingerprints and the search for close ones, against all pairs one by one."""

import io

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.preparing.duplicates import (
    RADIUS,
    content_numbers,
    fingerprint,
    near_pairs,
    repeated,
)


def picture(seed: int, size=(96, 72)) -> Image.Image:
    """Smooth random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def bits(a: Image.Image, b: Image.Image) -> int:
    first, second = (np.unpackbits(fingerprint(np.asarray(img))) for img in (a, b))
    return int((first != second).sum())


def jpeg(img: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    img.save(file, 'JPEG', quality=quality)
    return Image.open(file).convert('RGB')


def test_copies_are_near_and_other_pictures_are_not():
    pictures = [picture(seed) for seed in range(30)]
    for img in pictures:
        brighter = img.point([min(255, int(v * 0.8 + 30)) for v in range(256)] * 3)
        for copy in (jpeg(img, 50), img.resize((48, 36)), img.resize((200, 150)), brighter):
            assert bits(img, copy) <= RADIUS
    for i, one in enumerate(pictures):
        assert all(bits(one, other) > 2 * RADIUS for other in pictures[i + 1 :])


def test_a_picture_without_structure_has_no_fingerprint():
    assert fingerprint(np.full((20, 30, 3), 7, np.uint8)) is None
    assert fingerprint(np.asarray(picture(0))).shape == (16,)


def family(rng: np.random.Generator, count: int) -> np.ndarray:
    """Fingerprints of which many are within a few bits of another one."""
    parents = rng.integers(0, 2, (count // 4, 128), dtype=np.uint8)
    bits = parents[rng.integers(0, len(parents), count)]
    for row in bits:
        row[rng.permutation(128)[: rng.integers(0, 9)]] ^= 1
    return np.packbits(bits, axis=1)


@pytest.mark.parametrize('radius', [0, 3, 8])
def test_all_near_pairs_are_found_once(radius):
    rng = np.random.default_rng(radius)
    prints = family(rng, 200)
    groups, contents = rng.integers(0, 3, 200), rng.integers(0, 150, 200)
    expected, touched = {}, np.zeros((200, 3), bool)
    unpacked = np.unpackbits(prints, axis=1)
    for i in range(200):
        for j in range(i + 1, 200):
            distance = int((unpacked[i] != unpacked[j]).sum())
            if groups[i] != groups[j] and contents[i] != contents[j] and distance <= radius:
                expected[i, j] = distance
                touched[i, groups[j]] = touched[j, groups[i]] = True
    assert len(expected) > radius
    near = near_pairs(prints, groups, contents, radius)
    found = [tuple(sorted(pair)) for pair in near.pairs.tolist()]
    assert len(found) == len(set(found))
    assert dict(zip(found, near.distances.tolist(), strict=True)) == expected
    assert np.array_equal(near.touched, touched)
    assert (np.diff(near.distances) >= 0).all()

    few = near_pairs(prints, groups, contents, radius, limit=5)
    assert few.distances.tolist() == near.distances[:5].tolist()
    assert np.array_equal(few.touched, touched)


def test_equal_fingerprints_in_large_numbers():
    prints = np.repeat(family(np.random.default_rng(0), 4)[:1], 600, axis=0)
    near = near_pairs(prints, np.arange(600) % 2, limit=50)
    assert len(near.pairs) == 50 and near.distances.max() == 0
    # each has a partner in the other group, none in its own
    assert near.touched.tolist() == [[n % 2 == 1, n % 2 == 0] for n in range(600)]


def test_no_images():
    near = near_pairs(np.zeros((0, 16), np.uint8), [])
    assert len(near.pairs) == 0 and near.touched.shape[0] == 0
    assert repeated(content_numbers(np.zeros((0, 16), np.uint8))) == []


def test_repeated_contents():
    rows = np.zeros((7, 16), np.uint8)
    rows[:, 15] = [3, 1, 3, 9, 1, 3, 0]
    groups = {tuple(group.tolist()) for group in repeated(content_numbers(rows))}
    assert groups == {(0, 2, 5), (1, 4)}
