"""Density by nearest neighbours equals its definition in float64 loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmseg_semi.methods.dgcl import knn
from mmseg_semi.methods.dgcl.knn import SCALES, knn_density, largest, neighbor_weights


def features(count: int, channels: int, seed: int, negative: bool = False) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, channels, generator=draw)
    return x if negative else x.relu() + 0.01


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def similarities(query: Tensor, bank: Tensor) -> list[float]:
    """Cosines to all rows, in descending order."""
    found = []
    for row in bank.double().tolist():
        dot = sum(a * b for a, b in zip(query.double().tolist(), row, strict=True))
        lengths = math.sqrt(sum(a * a for a in query.double().tolist()) * sum(b * b for b in row))
        found.append(dot / lengths)
    return sorted(found, reverse=True)


def by_definition(query: Tensor, bank: Tensor, scales=SCALES) -> float:
    nearest = similarities(query, bank)
    return sum(sum(nearest[:k]) / k for k in scales) / len(scales)


@pytest.mark.parametrize('scales', [(8, 16, 32), (1,), (3, 5)])
@pytest.mark.parametrize('negative', [False, True])
def test_density_is_the_mean_of_neighbourhood_means(scales, negative):
    queries, bank = features(9, 12, 0, negative), features(60, 12, 1, negative)
    found = knn_density(queries, unit(bank), scales)
    expected = [by_definition(query, bank, scales) for query in queries]
    assert found.dtype == torch.float32
    assert (found.double() - torch.tensor(expected).double()).abs().max() < 1e-6


def test_weights_of_the_published_neighbourhoods():
    weights = neighbor_weights()
    assert weights.shape == (32,) and weights.sum().item() == pytest.approx(1, abs=1e-6)
    for ranks, value in (
        (slice(0, 8), 0.07292),
        (slice(8, 16), 0.03125),
        (slice(16, 32), 0.010417),
    ):
        assert (weights[ranks] - value).abs().max() < 1e-5


@pytest.mark.parametrize('chunk', [1, 7, 16, 100])
def test_chunks_change_nothing(chunk):
    queries, bank = features(33, 8, 2), unit(features(50, 8, 3))
    assert torch.allclose(
        knn_density(queries, bank, chunk=chunk), knn_density(queries, bank), atol=1e-6
    )


@pytest.mark.parametrize('columns', [1, 7, 50, 1000])
def test_parts_of_the_bank_change_nothing(columns, monkeypatch):
    queries, bank = features(33, 8, 2), unit(features(50, 8, 3))
    expected = torch.tensor([by_definition(query, bank) for query in queries])
    monkeypatch.setattr(knn, 'COLUMNS', columns)
    assert torch.allclose(knn_density(queries, bank, chunk=20), expected, atol=1e-6)


@pytest.mark.parametrize('count', [1, 5, 40])
def test_largest_values_of_each_row(count, path):
    values = torch.randn(6, 40)
    values[1], values[2, 3:30] = 0.5, -1.0  # equal values
    values[3, 7] = torch.nan  # is the largest one, as in topk
    expected = values.sort(dim=1, descending=True).values[:, :count]
    assert torch.equal(largest(values.clone(), count).nan_to_num(9), expected.nan_to_num(9))


def test_larger_neighbourhoods_have_lower_density():
    queries, bank = features(20, 16, 4), unit(features(200, 16, 5))
    d8, d16, d32 = (knn_density(queries, bank, (k,)) for k in SCALES)
    d = knn_density(queries, bank)
    assert (d8 >= d16).all() and (d16 >= d32).all() and (d8 > d32).any()
    assert (d <= d8 + 1e-6).all() and (d >= d32 - 1e-6).all()
    assert (d >= 0).all() and (d <= 1 + 1e-6).all()  # both are non-negative


def test_a_feature_with_enough_copies_in_the_bank_has_density_one():
    queries = features(3, 16, 6)
    bank = unit(torch.cat([queries[:1].repeat(32, 1), features(40, 16, 7)]))
    density = knn_density(queries, bank)
    assert density[0].item() == pytest.approx(1, abs=1e-6)
    assert (density[1:] < 1 - 1e-4).all()


def test_lengths_do_not_matter():
    queries, bank = features(6, 16, 8), features(64, 16, 9)
    longer = queries * torch.tensor([0.1, 1, 3, 20, 100, 1e4])[:, None]
    expected = knn_density(queries, unit(bank))
    assert torch.allclose(knn_density(longer, unit(bank)), expected, atol=1e-6)
    assert torch.allclose(knn_density(queries, unit(bank * 7)), expected, atol=1e-6)


def test_unfilled_rows_do_not_count(path):
    queries, bank = features(5, 8, 10, negative=True), unit(features(40, 8, 11, negative=True))
    padded = torch.cat([bank, torch.zeros(20, 8)])
    found = knn_density(queries, padded, filled=torch.tensor([40]))
    assert torch.allclose(found, knn_density(queries, bank), atol=1e-6)
    # missing neighbours enter with cosine -1
    few = torch.cat([bank[:2], torch.zeros(20, 8)])
    found = knn_density(queries, few, (4,), filled=torch.tensor([2]))
    cosines = (unit(queries) @ bank[:2].T).sum(dim=1)
    assert torch.allclose(found, (cosines - 2) / 4, atol=1e-6)


def test_no_graph_no_queries_and_half_precision():
    queries, bank = features(4, 8, 12).requires_grad_(), unit(features(40, 8, 13))
    assert not knn_density(queries, bank).requires_grad
    assert knn_density(queries[:0], bank).shape == (0,)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = knn_density(queries, bank)
    assert torch.equal(inside, knn_density(queries, bank))
    assert knn_density(queries.detach().bfloat16(), bank.bfloat16()).dtype == torch.float32
