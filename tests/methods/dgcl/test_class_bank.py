"""The bank equals lists, first in, first out; its densities are those against the rows it held."""

import math

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmseg_semi import host_reads
from mmseg_semi.errors import SetupError
from mmseg_semi.methods.dgcl.class_bank import DEVICE_CHUNK, UNKNOWN_DENSITY, ClassBank, block_size
from mmseg_semi.methods.dgcl.class_order import order_by_class
from mmseg_semi.methods.dgcl.knn import knn_density

K, M, C, D, R = 4, 20, 6, 5, 7
SCALES = (2, 4)


def make(**changes) -> ClassBank:
    options = dict(size=M, channels=C, embedding_channels=D, scales=SCALES, density_after=9)
    return ClassBank(K, **options | changes)


def new_rows(seed: int, rows: int = R) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, rows + 1, (K,), generator=draw)
    counts[3] = 0  # a class that never occurs
    return (
        torch.randn(K, rows, C, generator=draw),
        10 * torch.randn(K, rows, D, generator=draw),
        counts,
    )


def filled(pushes: int = 12, **changes) -> ClassBank:
    bank = make(**changes)
    for seed in range(pushes):
        bank.push(*new_rows(seed))
    return bank


# -- pixels by class -------------------------------------------------------------------------------


def test_order_by_class_is_a_sorted_permutation():
    labels = torch.randint(0, 6, (3, 5, 7))
    labels[labels == 5] = 255
    torch.manual_seed(0)
    pixels = order_by_class(labels, 5)
    flat = labels.flatten()
    assert sorted(pixels.order.tolist()) == list(range(105))
    assert flat[pixels.order].tolist() == sorted(flat.tolist())
    assert pixels.counts.tolist() == [(flat == c).sum().item() for c in range(5)]
    for c in range(5):
        own = slice(pixels.starts[c], pixels.starts[c] + pixels.counts[c])
        assert (flat[pixels.order[own]] == c).all()
        assert (pixels.keys[own].diff() > 0).all()


def test_first_is_a_uniform_sample_of_each_class():
    labels = torch.tensor([0, 1, 0, 2, 255, 0, 1, 0, 0, 255])
    torch.manual_seed(0)
    drawn = torch.zeros(10)
    for _ in range(500):
        pixels = order_by_class(labels, 4)
        places, counts = pixels.first(3)
        assert counts.tolist() == [3, 2, 1, 0] and places.shape == (4, 3)
        for c, count in enumerate(counts.tolist()):
            index = pixels.order[places[c, :count]]
            assert len(set(index.tolist())) == count and (labels[index] == c).all()
            drawn[index] += 1
    assert (drawn[labels == 255] == 0).all()
    assert (drawn[(labels == 1) | (labels == 2)] == 500).all()
    # 3 of 5 pixels of class 0
    assert (drawn[labels == 0] - 300).abs().max() < 5 * math.sqrt(500 * 0.6 * 0.4)
    places, counts = order_by_class(labels, 4).first(50)
    assert places.shape == (4, 10) and counts.tolist() == [5, 2, 1, 0]


# -- the ring --------------------------------------------------------------------------------------


def test_the_ring_holds_what_a_list_would(path):
    bank = make()
    lists: list[list[tuple]] = [[] for _ in range(K)]
    for seed in range(25):
        features, embeddings, counts = new_rows(seed)
        before = [[row[0] for row in rows] for rows in lists]
        bank.push(features, embeddings, counts)
        for c in range(K):
            rows = F.normalize(features[c, : counts[c]], dim=1)
            density = torch.full((len(rows),), UNKNOWN_DENSITY)
            if len(before[c]) > 9 and len(rows):
                density = knn_density(rows, torch.stack(before[c]), SCALES)
            new = list(zip(rows, embeddings[c], density, strict=False))
            lists[c] = (lists[c] + new)[-M:]

        assert bank.counts.tolist() == [len(rows) for rows in lists]
        assert bank.full.tolist() == [len(rows) == M for rows in lists]
        for c in range(K):
            count = len(lists[c])
            # features, embeddings and densities of a row stay together
            stored = torch.cat(
                [bank.features[c], bank.embeddings[c], bank.densities[c, :, None]], dim=1
            )[:count]
            expected = [torch.cat([x, u, d[None]]) for x, u, d in lists[c]]
            if not expected:
                continue
            distance = torch.cdist(stored.double(), torch.stack(expected).double())
            assert distance.min(dim=1).values.max() < 1e-5
            assert sorted(distance.argmin(dim=1).tolist()) == list(range(count))
            # the rows behind the filled ones are empty
            assert not bank.features[c, count:].any() and not bank.embeddings[c, count:].any()
            assert (bank.densities[c, count:] == UNKNOWN_DENSITY).all()
    assert bank.counts.tolist()[3] == 0 and bank.full.tolist() == [True, True, True, False]


def test_the_newest_rows_are_there_and_the_oldest_are_gone():
    bank = make(size=10, density_after=5)
    every = torch.full((K,), 4)
    for step in range(5):
        rows = torch.zeros(K, 4, D) + torch.arange(4)[:, None] + 4 * step
        bank.push(torch.ones(K, 4, C), rows, every)
    for c in range(K):
        assert sorted(bank.embeddings[c, :, 0].tolist()) == list(range(10, 20))


def test_features_are_stored_normalised_and_projections_unchanged():
    bank = filled()
    for c in range(3):
        count = bank.counts[c]
        assert (bank.features[c, :count].norm(dim=1) - 1).abs().max() < 1e-6
        assert bank.embeddings[c, :count].norm(dim=1).max() > 5


def test_densest_returns_the_highest_stored_densities():
    bank = filled()
    found, known = bank.densest(3)
    assert found.shape == (K, 3, D) and found.dtype == torch.float32
    assert known.tolist() == 3 * [[True] * 3] + [[False] * 3]  # the last class never occurs
    for c in range(3):
        ranks = sorted(range(M), key=lambda i, c=c: -bank.densities[c, i])[:3]
        assert torch.equal(found[c], bank.embeddings[c, ranks])
        assert (bank.densities[c] > UNKNOWN_DENSITY).sum() >= 3
    assert bank.densest(100)[0].shape == (K, M, D)


def test_rows_without_a_density_are_not_among_the_densest():
    bank = make()
    for seed in (0, 1):  # the second push also finds too few rows
        bank.push(*new_rows(seed)[:2], torch.full((K,), R if seed else 2))
    assert bank.counts.tolist() == [9] * K and not bank.densest(4)[1].any()
    bank.push(*new_rows(2)[:2], torch.full((K,), 3))
    assert not bank.densest(4)[1].any()
    bank.push(*new_rows(3)[:2], torch.full((K,), 3))  # these find 12 rows
    found, known = bank.densest(4)
    assert known.tolist() == K * [[True] * 3 + [False]]
    new = new_rows(3)[1][:, :3]
    for c in range(K):
        assert torch.cdist(found[c, :3], new[c]).min(dim=1).values.max() < 1e-4


# -- densities in blocks ---------------------------------------------------------------------------


DISTRIBUTIONS = {
    'nothing': [0, 0, 0, 0],
    'one feature': [0, 0, 1, 0],
    'one of each class': [1, 1, 1, 1],
    'all of one class': [0, 41, 0, 0],
    'no multiples': [7, 0, 13, 29],
    'equal': [16, 16, 16, 16],
    'full': [41, 41, 41, 41],
    'a short bank': [2, 3, 5, 37],  # class 3 has 3 rows, fewer than neighbours
}


def uneven_bank(**changes) -> ClassBank:
    """Classes 0 and 1 are full, class 2 has 11 rows of 20, class 3 has 3, fewer than neighbours."""
    bank = make(**changes)
    draw = torch.Generator().manual_seed(4)
    for _ in range(3):
        rows = torch.randn(K, 10, C, generator=draw)
        bank.push(rows, torch.randn(K, 10, D, generator=draw), torch.tensor([10, 10, 0, 0]))
    rows = torch.randn(K, 11, C, generator=draw)
    bank.push(rows, torch.randn(K, 11, D, generator=draw), torch.tensor([3, 0, 11, 3]))
    return bank


def density_in_a_loop(row: Tensor, stored: Tensor) -> float:
    """The definition; neighbours that do not exist have cosine -1."""
    cosines = [F.cosine_similarity(row.double(), other.double(), dim=0).item() for other in stored]
    nearest = sorted(cosines, reverse=True) + [-1.0] * max(SCALES)
    return sum(sum(nearest[:k]) / k for k in SCALES) / len(SCALES)


@pytest.mark.parametrize('chunk', [1, 5, 100])
@pytest.mark.parametrize('counts', DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_density_is_that_of_a_loop_over_features(counts, chunk, path):
    bank, draw = uneven_bank(), torch.Generator().manual_seed(2)
    pool = torch.randn(90, C, generator=draw)
    table = torch.randint(0, 90, (K, 41), generator=draw)
    for total in (None, sum(counts), sum(counts) + 9):
        found = bank.density(
            lambda index: pool[index], table, torch.tensor(counts), total, chunk=chunk
        )
        assert found.shape == (K, 41) and found.dtype == torch.float32
        for c, count in enumerate(counts):
            stored = bank.features[c, : bank.counts[c]]
            expected = [density_in_a_loop(pool[i], stored) for i in table[c, :count]]
            assert found[c, :count].tolist() == pytest.approx(expected, abs=1e-6)
            assert not found[c, count:].any()
            # anchors and positives are the same, up to features whose densities are equal
            ranked = torch.tensor(expected)[found[c, :count].argsort()]
            assert (ranked.diff() > -2e-6).all()


def test_density_of_no_positions(path):
    bank, empty = filled(), torch.zeros(K, 0, dtype=torch.int64)
    counts = torch.zeros(K, dtype=torch.int64)
    pool = torch.randn(5, C)
    assert bank.density(lambda index: pool[index], empty, counts, 0).shape == (K, 0)
    before = {name: value.clone() for name, value in bank.state_dict().items()}
    bank.push(torch.randn(K, 0, C), torch.randn(K, 0, D), counts)
    bank.push(torch.randn(K, 3, C), torch.randn(K, 3, D), counts)
    assert all(torch.equal(before[name], value) for name, value in bank.state_dict().items())


def count_flops(call) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize('counts', DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_arithmetic_is_that_of_the_features_there_are(counts, path):
    """On a CPU exactly, without rows of a bank that are not there; elsewhere up to a quarter more."""
    bank, pool = uneven_bank(), torch.randn(90, C)
    table, total = torch.randint(0, 90, (K, 41)), sum(counts)

    held = bank.counts.tolist()

    def within(found: int, queries: list[int]) -> bool:
        """The counter counts products of matrices: here those with the bank."""
        if path == 'host':
            return found == 2 * C * sum(n * m for n, m in zip(queries, held, strict=True))
        return found <= 1.25 * 2 * C * M * sum(queries)

    found = count_flops(
        lambda: bank.density(lambda index: pool[index], table, torch.tensor(counts), total)
    )
    assert within(found, counts) and (found > 0 or total == 0)

    # new rows of classes 0 to 2 get a density; class 3 has too few rows
    new = torch.tensor(counts).clamp(max=15)
    rows = torch.randn(K, 15, C), torch.randn(K, 15, D)
    found = count_flops(lambda: bank.push(*rows, new, int(new.sum())))
    if path == 'host':
        assert within(found, [*new[:3].tolist(), 0])
    else:
        assert within(found, new.tolist())
    assert found > 0 or not new[:3].any()


@pytest.mark.parametrize('classes', [1, 3, 20])
@pytest.mark.parametrize('total', [0, 1, 7, 80, 4356, 50_000, 106_165])
@pytest.mark.parametrize('width', [1, 40, 1000, 4356, 10_000])
def test_blocks_suffice_and_add_at_most_a_quarter(classes, total, width):
    total = min(total, classes * width)
    size = block_size(classes, width, total)
    limit = min(classes * -(-width // size), (total + classes * (size - 1)) // size)
    assert 1 <= size <= min(DEVICE_CHUNK, width)
    assert size * limit <= 1.25 * total
    # memory and the number of operations are bounded, too
    assert limit <= max(5 * classes, total // DEVICE_CHUNK + classes, total)
    draw = torch.Generator().manual_seed(0)
    cases = [[min(width, total)] + [0] * (classes - 1)]  # all in one class
    cases.append([min(width, max(0, total - i * width)) for i in range(classes)])
    cases.append([total // classes] * classes)
    # every class one feature beyond a multiple of the block
    over = [min(width, 1 + size * ((total // classes) // size - 1)) for _ in range(classes)]
    cases.append([max(0, count) for count in over])
    for _ in range(5):
        share = torch.rand(classes, generator=draw)
        cases.append((share / share.sum() * total).long().clamp(max=width).tolist())
    for counts in cases:
        assert sum(counts) <= total
        assert sum(-(-count // size) for count in counts) <= limit


def test_density_of_some_classes_only(path):
    bank, pool = filled(), torch.randn(30, C)
    classes, table = torch.tensor([2, 0]), torch.randint(0, 30, (2, 5))
    found = bank.density(lambda index: pool[index], table, torch.tensor([5, 4]), classes=classes)
    for row, c in enumerate(classes):
        expected = knn_density(pool[table[row]], bank.features[c], SCALES)
        assert (found[row, :4] - expected[:4]).abs().max() < 1e-6
    assert found[1, 4] == 0


def test_the_host_reads_no_value(monkeypatch):
    """Fake tensors raise on a read. Only a CPU reads counts, so its branch is closed."""
    monkeypatch.setattr(host_reads, 'READABLE', ())
    with FakeTensorMode():
        bank = make()
        labels = torch.zeros(2, 8, 8, dtype=torch.int64)
        pool = torch.zeros(128, C)
        pixels = order_by_class(labels, K)
        places, counts = pixels.first(R)
        table = pixels.order[places]
        assert bank.density(lambda index: pool[index], table, counts, 128).shape == (K, R)
        bank.push(pool[table], torch.zeros(K, R, D), counts)
        assert bank.densest(3)[0].shape == (K, 3, D)
        with pytest.raises(DataDependentOutputException):
            int(counts[0])


# -- precision, state, settings --------------------------------------------------------------------


def test_bfloat16_halves_the_memory_and_costs_little():
    exact, half = filled(), filled(dtype='bfloat16')
    sizes = [sum(b.nbytes for b in (bank.features, bank.embeddings)) for bank in (exact, half)]
    assert sizes[0] == 2 * sizes[1]
    pool = torch.randn(200, C)
    table, counts = torch.arange(200).view(1, -1).expand(3, -1), torch.full((3,), 200)
    classes = torch.arange(3)
    one, other = (
        bank.density(lambda index: pool[index], table, counts, classes=classes)
        for bank in (exact, half)
    )
    # a component is off by at most 2^-9 of itself, a cosine by as much
    assert 0 < (one - other).abs().max() < 2**-8
    assert other.dtype == half.densities.dtype == torch.float32


def test_the_state_dict_is_complete():
    bank, fresh = filled(), make()
    assert list(bank.state_dict()) == ['features', 'embeddings', 'densities', 'counts', 'heads']
    assert not list(bank.parameters())
    fresh.load_state_dict(bank.state_dict())
    rows = new_rows(99)
    bank.push(*rows)
    fresh.push(*rows)
    for one, other in zip(bank.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    'changes',
    [
        dict(scales=()),
        dict(scales=(0, 4)),
        dict(scales=(2, 30)),
        dict(density_after=3),
        dict(density_after=20),
        dict(dtype='float16'),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(SetupError, match='bank: '):
        make(**changes)
