"""Overlapping tiles with smooth weights: an image of any size in bounded memory.

The weights of a tile fall towards its borders, where a network has seen the least, as in the sliding windows of
nnU-Net (Isensee et al., Nature Methods 2021). There they are Gaussian and divided by their sum; here they are ramps,
separable into rows and columns and normalised on each axis, so that no map of sums is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin on an axis: spread evenly, the first at 0, the last at the end of the axis.

    Args:
        length: Of the axis, in pixels.
        tile: Length of a tile. One tile covers an axis that is no longer.
        overlap: Share of a tile that neighbours share at least, in [0, 0.5].

    Example:
        >>> tile_starts(10, 4, 0.25), tile_starts(3, 4, 0.25)
        ([0, 3, 6], [0])
    """
    if length <= tile:
        return [0]
    stride = max(1, tile - math.ceil(overlap * tile))
    count = math.ceil((length - tile) / stride) + 1
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def tile_weights(length: int, tile: int, starts: Sequence[int]) -> list[np.ndarray]:
    """Weight of each position of each tile on an axis; at every position of the axis they sum to one.

    A weight rises over the overlap with the tile before, sin^2, and falls over the overlap with the next one. Where a
    tile has no neighbour it stays at its height up to the end of the axis.

    Args:
        length: Of the axis, in pixels.
        tile: Length of a tile.
        starts: Of :func:`tile_starts`.

    Returns:
        For each tile (min(tile, length),) float32.

    Example:
        >>> [[round(float(value), 2) for value in weight] for weight in tile_weights(4, 3, [0, 1])]
        [[1.0, 0.85, 0.15], [0.15, 0.85, 1.0]]
    """
    size = min(tile, length)
    raw = []
    for index, start in enumerate(starts):
        weight = np.ones(size)
        for neighbour, rising in ((index - 1, True), (index + 1, False)):
            if not 0 <= neighbour < len(starts):
                continue
            shared = size - abs(starts[neighbour] - start)
            if shared > 0:
                ramp = np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / shared) ** 2
                if rising:
                    weight[:shared] *= ramp
                else:
                    weight[size - shared :] *= ramp[::-1]
        raw.append(weight)
    total = np.zeros(length)
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + size] += weight
    return [
        (weight / total[start : start + size]).astype(np.float32)
        for start, weight in zip(starts, raw, strict=True)
    ]


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image: rows [top, bottom), columns [left, right), in pixels."""

    top: int
    left: int
    bottom: int
    right: int


class Grid:
    """The tiles of an image.

    Args:
        size: (height, width) of the image in pixels.
        tile: (height, width) of a tile.
        overlap: Share of a tile that neighbours share at least, in [0, 0.5].

    Attributes:
        tops, lefts: Where rows and columns of tiles begin.
        row_weights, column_weights: Of :func:`tile_weights`, a weight of a pixel is the product of the two.

    Example:
        >>> grid = Grid((10, 3), (4, 4), 0.25)
        >>> len(grid), grid.tile(1, 0)
        (3, Tile(top=3, left=0, bottom=7, right=3))
    """

    def __init__(self, size: tuple[int, int], tile: tuple[int, int], overlap: float) -> None:
        self.size = size
        self.shape = min(tile[0], size[0]), min(tile[1], size[1])
        self.tops = tile_starts(size[0], tile[0], overlap)
        self.lefts = tile_starts(size[1], tile[1], overlap)
        self.row_weights = tile_weights(size[0], tile[0], self.tops)
        self.column_weights = tile_weights(size[1], tile[1], self.lefts)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def tile(self, row: int, column: int) -> Tile:
        """A tile by its row and column in the grid."""
        top, left = self.tops[row], self.lefts[column]
        return Tile(top, left, top + self.shape[0], left + self.shape[1])

    def strips(self, columns: int) -> list[tuple[int, int]]:
        """Divide the image into strips of columns, (left, right), of at most that many columns, or of one tile.

        Tiles that reach into two strips are computed for each of them.
        """
        width = self.size[1]
        count = math.ceil(width / max(columns, self.shape[1]))
        edges = [round(index * width / count) for index in range(count + 1)]
        return list(zip(edges[:-1], edges[1:], strict=True))

    def touching(self, axis: Sequence[int], length: int, low: int, high: int) -> list[int]:
        """Indices of the tiles on an axis that reach into [low, high)."""
        return [i for i, start in enumerate(axis) if start < high and start + length > low]


def resize_rows(
    scores: Tensor, size: tuple[int, int], rows: tuple[int, int], align_corners: bool
) -> Tensor:
    """Rows of the bilinearly resized scores, without the other rows; as torch's ``interpolate`` computes them.

    Args:
        scores: (K, h, w) float.
        size: (H, W) after resizing.
        rows: (first, end) in the resized scores.
        align_corners: As for ``interpolate``.

    Returns:
        (K, end - first, W).

    Example:
        >>> scores = torch.tensor([[[0.0, 2.0]]])
        >>> resize_rows(scores, (3, 4), (1, 2), align_corners=False).tolist()
        [[[0.0, 0.5, 1.5, 2.0]]]
    """
    if tuple(scores.shape[1:]) == tuple(size):
        return scores[:, rows[0] : rows[1]]
    low, high, share = _neighbours(scores.shape[1], size[0], *rows, align_corners, scores)
    part = torch.lerp(scores[:, low], scores[:, high], share[:, None])
    low, high, share = _neighbours(scores.shape[2], size[1], 0, size[1], align_corners, scores)
    return torch.lerp(part[..., low], part[..., high], share)


def _neighbours(
    length: int, resized: int, first: int, end: int, align_corners: bool, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the two positions that each resized one lies between, and its distance from the lower one."""
    places = torch.arange(first, end, dtype=torch.float64)
    if align_corners:
        places = places * ((length - 1) / (resized - 1) if resized > 1 else 0.0)
    else:
        places = ((places + 0.5) * (length / resized) - 0.5).clamp(min=0)
    low = places.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    share = (places - low).to(like.dtype)
    return low.to(like.device), high.to(like.device), share.to(like.device)


def probabilities(logits: Tensor, dim: int = 0) -> Tensor:
    """Class probabilities of logits; of a network with one output those of class 1 alone, by the sigmoid.

    Example:
        >>> probabilities(torch.zeros(4, 1, 1)).flatten().tolist(), probabilities(torch.zeros(1, 1, 1)).item()
        ([0.25, 0.25, 0.25, 0.25], 0.5)
    """
    return logits.sigmoid() if logits.shape[dim] == 1 else logits.softmax(dim)


MEMORY = 192 * 1024**2
"""Bytes for the scores of the tiles that are still open."""


def blended_rows(
    grid: Grid,
    scores: Callable[[list[Tile]], list[Tensor]],
    num_scores: int,
    align_corners: bool,
    batch: int = 1,
    input_shape: tuple[int, int] | None = None,
    memory: int = MEMORY,
) -> Iterator[tuple[int, int, Tensor]]:
    """Blend the class probabilities of tiles, a few rows at a time.

    Kept are the logits of the tiles that reach into the rows in work. If they do not fit into ``memory``, the image is
    worked on in strips of columns.

    Args:
        grid: The tiles.
        scores: Logits of tiles, (K, h, w) each, in a resolution of their own, which is resized to the tile's.
        num_scores: K.
        align_corners: How logits are resized.
        batch: Number of tiles that ``scores`` gets at once.
        input_shape: (h, w) of a tile's logits, if known, for the choice of strips. Defaults to the tile's.
        memory: In bytes.

    Yields:
        (top, left, probabilities): a block (K, rows, columns) float32 at this place. Blocks come in order of rows
        within a strip and cover each pixel once.
    """
    height, width = grid.shape
    shape = input_shape or grid.shape
    # two rows of tiles are open where they overlap
    per_column = 2 * 4 * num_scores * shape[0] * shape[1] * len(grid.lefts) / grid.size[1]
    for left, right in grid.strips(max(1, int(memory / per_column))):
        columns = grid.touching(grid.lefts, width, left, right)
        opened: dict[int, list[Tensor]] = {}
        # rows of few bytes, and none that a tile begins or ends within
        step = max(4, min(256, memory // 8 // (4 * num_scores * (right - left))))
        edges = {*grid.tops, *(top + height for top in grid.tops)}
        edges = sorted(edges | set(range(0, grid.size[0], step)))
        for first, end in zip(edges[:-1], edges[1:], strict=True):
            rows = grid.touching(grid.tops, height, first, end)
            opened = {row: tiles for row, tiles in opened.items() if row in rows}
            for row in rows:
                if row not in opened:
                    tiles = [grid.tile(row, column) for column in columns]
                    opened[row] = [
                        logits
                        for start in range(0, len(tiles), batch)
                        for logits in scores(tiles[start : start + batch])
                    ]
            yield (
                first,
                left,
                _blend(grid, opened, columns, (first, end), (left, right), align_corners),
            )


def _blend(
    grid: Grid,
    opened: dict[int, list[Tensor]],
    columns: list[int],
    rows: tuple[int, int],
    span: tuple[int, int],
    align_corners: bool,
) -> Tensor:
    (first, end), (left, right) = rows, span
    block = None
    for row, tiles in opened.items():
        top = grid.tops[row]
        down = torch.from_numpy(grid.row_weights[row][first - top : end - top])
        for column, logits in zip(columns, tiles, strict=True):
            begin = grid.lefts[column]
            low, high = max(left, begin), min(right, begin + grid.shape[1])
            part = resize_rows(logits, grid.shape, (first - top, end - top), align_corners)
            part = probabilities(part[..., low - begin : high - begin].float())
            across = torch.from_numpy(grid.column_weights[column][low - begin : high - begin])
            weight = down[:, None] * across
            if block is None:
                block = part.new_zeros(part.shape[0], end - first, right - left)
            block[..., low - left : high - left].addcmul_(part, weight.to(part))
    return block
