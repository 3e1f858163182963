"""Tiles: they cover an axis, their weights sum to one, and blending equals the whole image where it must."""

import multiprocessing
import resource

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_semi.runtime.prediction.tiles import (
    Grid,
    blended_rows,
    resize_rows,
    tile_starts,
    tile_weights,
)

AXES = [(1, 8), (7, 8), (8, 8), (9, 8), (15, 8), (100, 8), (97, 32), (1000, 64)]


@pytest.mark.parametrize('length, tile', AXES)
@pytest.mark.parametrize('overlap', [0.0, 0.1, 0.25, 0.5])
def test_tiles_cover_an_axis_and_weights_sum_to_one(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    size = min(tile, length)
    assert starts[0] == 0 and starts[-1] + size == length
    shared = [a + size - b for a, b in zip(starts[:-1], starts[1:], strict=True)]
    assert all(share >= int(overlap * tile) for share in shared)
    total = np.zeros(length)
    for start, weight in zip(starts, tile_weights(length, tile, starts), strict=True):
        assert weight.shape == (size,) and (weight > 0).all() and (weight <= 1).all()
        total[start : start + size] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_weights_rise_and_fall_smoothly():
    starts = tile_starts(28, 16, 0.25)
    assert starts == [0, 12]
    first, second = tile_weights(28, 16, starts)
    # sin^2 over four shared pixels, by hand; no fall at the ends of the axis
    ramp = np.sin(np.pi / 8 * np.array([0.5, 1.5, 2.5, 3.5])) ** 2
    np.testing.assert_allclose(second, [*ramp, *[1.0] * 12], atol=1e-6)
    np.testing.assert_allclose(first, second[::-1], atol=1e-6)


def assembled(grid, scores, count, **options):
    """All blocks as one map, and how often each pixel was given."""
    whole = torch.zeros(count, *grid.size)
    times = torch.zeros(grid.size)
    for top, left, block in blended_rows(grid, scores, count, False, **options):
        rows, columns = block.shape[1:]
        whole[:, top : top + rows, left : left + columns] = block
        times[top : top + rows, left : left + columns] += 1
    assert (times == 1).all()
    return whole


@pytest.mark.parametrize('size', [(40, 53), (5, 90), (16, 16), (9, 4)])
@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.5])
@pytest.mark.parametrize('memory', [10**8, 30_000])
def test_a_network_of_single_pixels_gives_the_same_as_on_the_whole_image(size, overlap, memory):
    image = torch.randn(4, *size, generator=torch.Generator().manual_seed(0))
    grid = Grid(size, (16, 16), overlap)
    asked = []

    def scores(tiles):
        asked.append(len(tiles))
        return [image[:, t.top : t.bottom, t.left : t.right] for t in tiles]

    found = assembled(grid, scores, 4, batch=3, memory=memory)
    torch.testing.assert_close(found, image.softmax(0), rtol=0, atol=1e-6)
    assert max(asked) <= 3
    if memory == 10**8:  # in one strip, each tile passes the network once
        assert sum(asked) == len(grid)


def test_a_constant_field_stays_constant():
    grid = Grid((70, 31), (24, 24), 0.25)
    logits = torch.tensor([2.0, 0.0, -1.0])[:, None, None]
    # in a resolution of its own, as of a pipeline that resizes
    found = assembled(
        grid, lambda tiles: [logits.expand(3, 7, 9) for _ in tiles], 3, input_shape=(7, 9)
    )
    expected = logits.softmax(0).expand(3, 70, 31)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_borders_of_tiles_count_least():
    # the tile below claims class 1 everywhere, the one above class 0
    grid = Grid((28, 16), (16, 16), 0.25)
    both = {0: torch.tensor([9.0, -9.0]), 12: torch.tensor([-9.0, 9.0])}
    found = assembled(
        grid, lambda tiles: [both[t.top][:, None, None].expand(2, 16, 16) for t in tiles], 2
    )
    share = found[1, :, 0]
    assert (share[1:] >= share[:-1] - 1e-6).all() and share[0] < 1e-3 and share[-1] > 1 - 1e-3
    assert share[12] < 0.1 and 0.9 < share[15]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(41, 30), (6, 5), (12, 9), (1, 1), (3, 50)])
def test_rows_are_resized_as_torch_resizes_all(align_corners, size):
    scores = torch.randn(3, 12, 9, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(scores[None], size, mode='bilinear', align_corners=align_corners)[0]
    for first in range(0, size[0], 7):
        end = min(size[0], first + 7)
        found = resize_rows(scores, size, (first, end), align_corners)
        torch.testing.assert_close(found, expected[:, first:end], rtol=0, atol=1e-5)


def _peak(queue) -> None:
    """Memory that 40 classes of 1600 x 2000 pixels take, in bytes; their scores alone would be 512 MB."""
    torch.set_num_threads(1)
    before = int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()
    grid = Grid((1600, 2000), (256, 256), 0.25)
    seen = 0
    logits = torch.randn(40, 256, 256)
    scores = lambda tiles: [logits.clone() for _ in tiles]  # noqa: E731
    for _, _, block in blended_rows(grid, scores, 40, False, memory=64 * 1024**2):
        seen += block.argmax(0).numel()
    assert seen == 1600 * 2000
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def test_memory_is_bounded():
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=_peak, args=(queue,))
    process.start()
    try:
        # twice the 64 MB of open scores, and the rows in work
        assert queue.get(timeout=120) < 256 * 1024**2
    finally:
        process.join(10)
        process.kill()
