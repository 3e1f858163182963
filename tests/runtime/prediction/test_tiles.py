"""Tiles, their weights and the blended scores, against dense forms."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmseg_semi.runtime.prediction.tiles import (
    Grid,
    blended_rows,
    resize_rows,
    tile_starts,
    tile_weights,
)


@pytest.mark.parametrize(
    ('length', 'tile', 'overlap'),
    [(100, 32, 0.25), (33, 32, 0.25), (32, 32, 0.5), (7, 32, 0.25), (257, 64, 0.0), (101, 10, 0.5)],
)
def test_tiles_cover_the_axis_and_their_weights_sum_to_one(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    size = min(tile, length)
    assert starts[0] == 0 and starts[-1] + size == length
    for before, after in zip(starts[:-1], starts[1:], strict=True):
        assert before + size - after >= min(int(overlap * tile), size) - 1 >= -1
        assert after <= before + size  # no gap
    total = np.zeros(length)
    for start, weight in zip(starts, tile_weights(length, tile, starts), strict=True):
        assert (weight > 0).all() and weight.shape == (size,)
        total[start : start + size] += weight
    assert np.allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize('align_corners', [False, True])
def test_resized_rows_are_those_of_torch(align_corners):
    scores = torch.randn(3, 5, 7, dtype=torch.float64)
    whole = F.interpolate(scores[None], (23, 17), mode='bilinear', align_corners=align_corners)[0]
    for first, end in ((0, 23), (4, 5), (9, 20)):
        found = resize_rows(scores, (23, 17), (first, end), align_corners)
        torch.testing.assert_close(found, whole[:, first:end])


def blend(size, tile, overlap, scores, classes=3, memory=2**28) -> torch.Tensor:
    """(K, H, W) of all blocks; each pixel must come once."""
    grid = Grid(size, tile, overlap)
    result = torch.full((classes, *size), torch.nan)
    for top, left, part in blended_rows(grid, scores, classes, False, 2, memory=memory):
        place = result[:, top : top + part.shape[1], left : left + part.shape[2]]
        assert torch.isnan(place).all()
        place.copy_(part)
    assert not torch.isnan(result).any()
    return result


@pytest.mark.parametrize('memory', [2**28, 20_000])
def test_a_constant_field_stays_constant(memory):
    logits = torch.tensor([0.3, -1.0, 2.0])[:, None, None]

    def scores(tiles):
        return [logits.expand(3, tile.bottom - tile.top, tile.right - tile.left) for tile in tiles]

    found = blend((83, 131), (32, 48), 0.25, scores, memory=memory)
    expected = logits.softmax(0).expand_as(found)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('memory', [2**28, 20_000])
def test_a_network_that_sees_single_pixels_gives_what_it_gives_the_whole_image(memory):
    logits = torch.randn(3, 83, 131)

    def scores(tiles):
        return [logits[:, t.top : t.bottom, t.left : t.right] for t in tiles]

    found = blend((83, 131), (32, 48), 0.5, scores, memory=memory)
    torch.testing.assert_close(found, logits.softmax(0), rtol=0, atol=1e-6)


def test_blocks_are_the_weighted_sum_of_the_tiles():
    grid = Grid((50, 70), (32, 32), 0.25)
    own = {}

    def scores(tiles):
        for tile in tiles:
            own.setdefault(
                tile,
                torch.randn(
                    3, 8, 8, generator=torch.Generator().manual_seed(tile.top * 100 + tile.left)
                ),
            )
        return [own[tile] for tile in tiles]

    found = blend((50, 70), (32, 32), 0.25, scores)
    expected = torch.zeros(3, 50, 70, dtype=torch.float64)
    for row, top in enumerate(grid.tops):
        for column, left in enumerate(grid.lefts):
            logits = F.interpolate(own[grid.tile(row, column)][None], (32, 32), mode='bilinear')[0]
            weight = np.outer(grid.row_weights[row], grid.column_weights[column])
            expected[:, top : top + 32, left : left + 32] += logits.softmax(0) * torch.from_numpy(
                weight
            )
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_an_image_smaller_than_a_tile_is_one_tile():
    grid = Grid((10, 20), (32, 32), 0.25)
    assert len(grid) == 1 and grid.shape == (10, 20)
